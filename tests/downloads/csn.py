"""CSN (ecg-arrhythmia 1.0.0): WFDBRecords/NN/NNN/JSxxxxx.{hea,mat} and ConditionNames_SNOMED-CT.csv.

CONDITIONS is the dataset's table (Zheng, Guo, Chu, 2022, PhysioNet, https://doi.org/10.13026/wgex-er52, CC BY 4.0).
"""

from pathlib import Path

import numpy as np
import scipy.io

from tests import builders
from tests.downloads.even_labels import EvenLabels
from tests.downloads.merl import split_of

CONDITIONS = """\
Acronym Name,Full Name,Snomed_CT
1AVB,1 degree atrioventricular block,270492004
2AVB,2 degree atrioventricular block,195042002
2AVB1,2 degree atrioventricular block(Type one),54016002
2AVB2,2 degree atrioventricular block(Type two),28189009
3AVB,3 degree atrioventricular block,27885002
ABI,atrial bigeminy,251173003
ALS,Axis left shift,39732003
APB,atrial premature beats,284470004
AQW,abnormal Q wave,164917005
ARS,Axis right shift,47665007
AVB,atrioventricular block,233917008
CCR,countercolockwise rotation,251199005
CR,colockwise rotation,251198002
ERV,Early repolarization of the ventricles,428417006
FQRS,fQRS Wave,164942001
IDC,Interior differences conduction,698252002
IVB,Intraventricular block,698252002
JEB,junctional escape beat,426995002
JPT,junctional premature beat,251164006
LBBB,left bundle branch block,164909002
LBBBB,left back bundle branch block,164909002
LFBBB,left front bundle branch block,164909002
LVH,left ventricle hypertrophy,164873001
LVQRSAL,lower voltage QRS in all lead,251146004
LVQRSCL,lower voltage QRS in chest lead,251148003
LVQRSLL,lower voltage QRS in limb lead,251147008
MI,myocardial infarction,164865005
MIBW,myocardial infraction in back wall,164865005
MIFW,Myocardial infgraction in the front wall,164865005
MILW,Myocardial infraction in the lower wall,164865005
MISW,Myocardial infraction in the side wall,164865005
PRIE,PR interval extension,164947007
PWC,P wave Change,164912004
QTIE,QT interval extension,111975006
RAH,right atrial hypertrophy,446358003
RBBB,right bundle branch block,59118001
RVH,right ventricle hypertrophy,89792004
STDD,ST drop down,429622005
STE,ST extension,164930006
STTC,ST-T Change,428750005
STTU,ST tilt up,164931005
TWC,T wave Change,164934002
TWO,T wave opposite,59931005
UW,U wave,164937009
VB,ventricular bigeminy,11157007
VEB,ventricular escape beat,75532003
VFW,ventricular fusion wave,13640000
VPB,ventricular premature beat,17338001
VPE,ventricular preexcitation,195060002
VET,ventricular escape trigeminy,251180001
WAVN,Wandering in the atrioventricalualr node,195101003
WPW,WPW,74390002
SB,Sinus Bradycardia,426177001
SR,Sinus Rhythm,426783006
AFIB,Atrial Fibrillation,164889003
ST,Sinus Tachycardia,427084000
AF,Atrial Flutter,164890007
SA,Sinus Irregularity,427393009
SVT,Supraventricular Tachycardia,426761007
AT,Atrial Tachycardia,713422000
AVNRT,Atrioventricular  Node Reentrant Tachycardia,233896004
AVRT,Atrioventricular Reentrant Tachycardia,233897008
SAAWR,Sinus Atrium to Atrial Wandering Rhythm,195101003
"""
TABLE = "ConditionNames_SNOMED-CT.csv"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def codes() -> dict[str, str]:
    """Return the code of each acronym."""
    rows = [line.split(",") for line in CONDITIONS.splitlines()[1:]]
    return {acronym: code for acronym, _, code in rows}


def write_record(folder: Path, name: str, counts: np.ndarray, comments: list[str]) -> None:
    """Write a recording as the dataset does: a MATLAB 4 matrix `val`, and a header without the words x1 and (0)."""
    folder.mkdir(parents=True, exist_ok=True)
    builders.write_record(folder, name, counts, LEADS, gain=1000, extension="mat", comments=comments)
    scipy.io.savemat(folder / f"{name}.mat", {"val": counts}, format="4")
    header = folder / f"{name}.hea"
    text = header.read_text().replace("16x1+24 1000(0)/mV", "16+24 1000/mV").replace("# ", "#")
    header.write_text(text)


def join_first_lines(header: Path) -> None:
    """Lose the text from the record line's end to the middle of the first signal's gain, as JS01052's header has."""
    record, first, *others = header.read_text().splitlines()
    header.write_text("\n".join([record + first[first.index("00/mV") :], *others]) + "\n")


def write_download(
    raw: Path, n_records: int = 12, seed: int = 0, n_samples: int = 600, even: bool = False
) -> list[dict]:
    """Write the download; return its rows: record_id, conditions (acronyms), counts, age and sex.

    With `even`, conditions are drawn evenly within each split of tests.downloads.merl.
    """
    rng = np.random.default_rng(seed)
    raw.mkdir(parents=True, exist_ok=True)
    (raw / TABLE).write_text(CONDITIONS, encoding="utf-8-sig")  # with byte order mark
    code_of = codes()
    of_their_own = [name for name in code_of if list(code_of.values()).count(code_of[name]) == 1]
    evenly, rows = EvenLabels(rng, of_their_own), []
    for index in range(n_records):
        name = f"JS{index + 1:05d}"
        if even:
            conditions = evenly.draw(split_of(index), 1 + index % 3)
        else:
            conditions = [str(each) for each in rng.choice(of_their_own, 1 + index % 3, replace=False)]
        row = {
            "record_id": name,
            "path": f"WFDBRecords/{index // 4 + 1:02d}/{index // 2 + 10:03d}/{name}",
            "conditions": conditions,
            "age": 20 + index,
            "sex": ("Male", "Female")[index % 2],
            "counts": builders.ecg_counts(rng, n_samples, 500, 1.0),
        }
        said = [f"Age: {row['age']}", f"Sex: {row['sex']}", f"Dx: {','.join(code_of[each] for each in conditions)}"]
        place = raw / row["path"]
        write_record(place.parent, name, row["counts"], [*said, "Rx: Unknown", "Hx: Unknown", "Sx: Unknown"])
        rows.append(row)
    return rows
