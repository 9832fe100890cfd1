"""Add up pytest's junit files; fail when a test was skipped for lack of ECGTEXT_SHARED although that is set."""

import os
import sys
import xml.etree.ElementTree as ElementTree


def main(paths):
    """Print the skips that matter and the totals; 1 when a file is missing, has no test, or a skip matters."""
    passed = failed = skipped = 0
    complaints = []
    for path in paths:
        if not os.path.isfile(path):
            complaints.append(f"{path} was not written: pytest did not run to its end")
            continue
        cases = list(ElementTree.parse(path).iter("testcase"))
        if not cases:
            complaints.append(f"{path} holds no test")
        for case in cases:
            reason = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif reason is None:
                passed += 1
            else:
                skipped += 1
                if os.environ.get("ECGTEXT_SHARED") and "ECGTEXT_SHARED" in f"{reason.get('message')} {reason.text}":
                    name = f"{case.get('classname')}.{case.get('name')}"
                    complaints.append(f"{name} was skipped: {reason.get('message')}")
    for complaint in complaints:
        print(f"error: {complaint}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if complaints or failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
