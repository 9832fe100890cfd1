"""The keys of corpus recipes (manifests/*.yaml): types, defaults, words, ranges; manifests/README.md explains them."""

from typing import Any

FORMAT = 2  # of the store; a change makes stores built before it unreadable
NUMBER = (int, float)
NULL = type(None)
# key: (types, default); a default of ... means required
KEYS: dict[str, tuple[tuple[type, ...], Any]] = {
    "name": ((str,), ...),
    "reader": ((str,), ...),
    "description": ((str,), ""),
    "licence": ((str,), ""),
    "citation": ((str,), ""),
    "options": ((dict,), {}),
    "sample_rate": (NUMBER, ...),
    "resampling": ((str,), "polyphase"),
    "seconds": ((*NUMBER, NULL), 10),
    "crop": ((str,), "first"),
    "pad": ((bool,), False),
    "min_seconds": (NUMBER, 1),
    "segments": ((dict, NULL), None),
    "filter": ((dict, NULL), None),
    "max_missing_leads": ((int,), 0),
    "derive_limb_leads": ((bool,), False),
    "checks": ((dict,), {}),
    "records_per_shard": ((int,), 500),
    "reports": ((dict,), {"required": True}),
    "labels": ((dict, NULL), None),
    "split": ((dict,), ...),
    "subsets": ((dict, NULL), None),
    "identification": ((bool,), False),
    "expected": ((dict, NULL), None),
    "exclude_sources": ((list,), []),
}
SECTIONS: dict[str, dict[str, tuple[tuple[type, ...], Any]]] = {
    "segments": {"seconds": (NUMBER, ...)},
    "filter": {
        "high_pass": ((*NUMBER, NULL), None),
        "low_pass": ((*NUMBER, NULL), None),
        "notch": ((*NUMBER, NULL), None),
        "order": ((int,), 2),
    },
    "checks": {
        "checksum": ((str,), "reject"),
        "missing_samples": ((str,), "reject"),
        "max_missing_share": (NUMBER, 0.0),
        "longest_gap": (NUMBER, 0.05),
        "flat_leads": ((str,), "mark"),
        "clipped_leads": ((str,), "mark"),
        "limb_leads": ((str,), "mark"),
        "limb_error_mv": (NUMBER, 0.05),
    },
    "reports": {
        "required": ((bool,), True),
        "separator": ((str,), " "),
        "punctuation": ((str,), "keep"),
        "min_words": ((int,), 0),
    },
    "split": {"by": ((str,), "patient"), "seed": ((int,), 0), "fractions": ((dict, NULL), None)},
    "subsets": {"percentages": ((list,), ...), "method": ((str,), "nested"), "seed": ((int,), 0)},
    "expected": {
        "found": ((int, NULL), None),
        "kept": ((int, NULL), None),
        "unique_reports": ((int, NULL), None),
        "splits": ((dict, NULL), None),
        "labels": ((dict, NULL), None),
        "label_sets": ((dict, NULL), None),
    },
}
# Keys whose value is one of a few words.
WORDS = {
    "resampling": ("polyphase", "linear"),
    "crop": ("first", "middle"),
    "checks.checksum": ("reject", "mark"),
    "checks.missing_samples": ("reject", "mark", "repair"),
    "checks.flat_leads": ("reject", "mark"),
    "checks.clipped_leads": ("reject", "mark"),
    "checks.limb_leads": ("reject", "mark"),
    "reports.punctuation": ("keep", "remove"),
    "split.by": ("patient", "official"),
    "subsets.method": ("nested", "published"),
}
LABEL_TABLE = {
    "file": ((str,), ...),
    "id": ((str,), "study_id"),
    "column": ((str,), "labels"),
    "names": ((list, str), ...),
}
LABEL_SCHEME = {"scheme": ((str, list), ...)}
DESCRIPTIVE = ("name", "description", "licence", "citation", "expected")  # change nothing in the data
# least, most
RANGES = {
    "sample_rate": (20, 5000),
    "seconds": (0.1, 86_400),
    "min_seconds": (0, 86_400),
    "segments.seconds": (0.1, 86_400),
    "max_missing_leads": (0, 11),
    "checks.max_missing_share": (0, 1),
    "checks.longest_gap": (0, 10),
    "checks.limb_error_mv": (0, 100),
    "filter.order": (1, 10),
    "records_per_shard": (1, 100_000),
    "reports.min_words": (0, 1000),
}
