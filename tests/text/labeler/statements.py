"""Statements of reports as a reader understands them: (text, what it says of the labels by their short names)."""

SHORT = {
    "PDQ": "Poor data quality",
    "SR": "Sinus rhythm",
    "PVC": "Premature ventricular contraction",
    "TACHY": "Tachycardia",
    "VT": "Ventricular tachycardia",
    "SVTA": "Supraventricular tachycardia with aberrancy",
    "AF": "Atrial fibrillation",
    "AFL": "Atrial flutter",
    "BRADY": "Bradycardia",
    "WPW": "Accessory pathway conduction",
    "AVB": "Atrioventricular block",
    "AVB1": "1st degree atrioventricular block",
    "BIF": "Bifascicular block",
    "RBBB": "Right bundle branch block",
    "LBBB": "Left bundle branch block",
    "MI": "Infarction",
    "PACE": "Electronic pacemaker",
}
# "SR, MI=0.5" is sinus rhythm stated, infarction at 0.5, all others at 0.
STATED = """
Sinus rhythm | SR
Normal sinus rhythm, rate 72 | SR
Sinus bradycardia | SR, BRADY
Marked sinus bradycardia | SR, BRADY
Sinus tachycardia | SR, TACHY
Sinus arrhythmia | SR
Sinus bradycardia with sinus arrhythmia | SR, BRADY
Atrial fibrillation | AF
Atrial fibrillation with rapid ventricular response | AF, TACHY
Atrial fibrillation with slow ventricular response | AF, BRADY
Atrial fibrillation with controlled ventricular response | AF
Rapid atrial fibrillation | AF, TACHY
Atrial flutter | AFL
Atrial flutter with 2:1 A-V conduction | AFL
Atrial flutter with rapid ventricular response | AFL, TACHY
Supraventricular tachycardia | TACHY
Paroxysmal SVT with aberrancy | TACHY, SVTA
Supraventricular tachycardia with aberrant conduction | TACHY, SVTA
SVT, rate 180, with aberrant ventricular conduction | TACHY, SVTA
Atrial tachycardia | TACHY
Junctional tachycardia | TACHY
Wide QRS tachycardia | TACHY
Ventricular tachycardia | TACHY, VT
Nonsustained ventricular tachycardia | TACHY, VT
Sinus rhythm with run of VT | SR, TACHY, VT
Accelerated idioventricular rhythm |
Junctional rhythm |
Junctional bradycardia | BRADY
Ectopic atrial rhythm |
Ectopic atrial bradycardia | BRADY
Wandering atrial pacemaker |
Premature ventricular contractions | PVC
Ventricular premature complexes | PVC
with PVC(s) | PVC
Sinus rhythm with frequent PVCs | SR, PVC
Sinus rhythm with occasional multifocal premature ventricular complexes | SR, PVC
Ventricular bigeminy | PVC
Frequent PVCs in a pattern of bigeminy | PVC
Ventricular couplets | PVC
Premature atrial contractions | 
Atrial premature complexes |
PAC(s) |
1st degree A-V block | AVB, AVB1
First degree AV block | AVB, AVB1
Sinus rhythm with 1st degree A-V block | SR, AVB, AVB1
Prolonged PR interval | AVB, AVB1
AV block, 1st degree | AVB, AVB1
Second degree A-V block, Mobitz I | AVB
2nd degree AV block (Wenckebach) | AVB
Complete heart block | AVB
3rd degree A-V block with junctional escape rhythm | AVB
High degree AV block | AVB
Short PR interval |
Wolff-Parkinson-White | WPW
WPW pattern | WPW
Ventricular preexcitation | WPW
Ventricular pre-excitation (WPW type A) | WPW
Right bundle branch block | RBBB
RBBB | RBBB
Incomplete RBBB | RBBB
Incomplete right bundle branch block | RBBB
Left bundle branch block | LBBB
Left bundle-branch block (LBBB) | LBBB
IV conduction defect: left bundle branch block | LBBB
Nonspecific intraventricular conduction delay |
Left anterior fascicular block |
RBBB with left anterior fascicular block | BIF, RBBB
Right bundle branch block; Left anterior fascicular block | BIF, RBBB
RBBB and LPFB | BIF, RBBB
Incomplete RBBB and left anterior fascicular block | RBBB
Bifascicular block | BIF, RBBB
Inferior infarct - age undetermined | MI
Old inferior infarct | MI
Anterior infarct, old | MI
Anteroseptal infarct - age undetermined | MI
Acute MI | MI
Lateral myocardial infarction | MI
Extensive anterior infarct - possibly acute | MI
Anterolateral STEMI | MI
Prior inferior infarct | MI
Ventricular pacing - no further analysis | PACE
Ventricular pacing | PACE
Atrial-sensed ventricular-paced rhythm | PACE
A-V dual-paced rhythm | PACE
Demand pacing | PACE
Electronic ventricular pacemaker | PACE
Pacemaker rhythm - no further analysis | PACE
Biventricular pacing | PACE
AV sequential or dual chamber electronic pacemaker | PACE
No further analysis due to paced rhythm | PACE
Lead(s) V4 were not recorded | PDQ
Artifact present | PDQ
Lead(s) unsuitable for analysis | PDQ
Baseline wander | PDQ
--- Warning: Data quality may affect interpretation --- | PDQ
*** Poor data quality, interpretation may be affected | PDQ
Muscle tremor | PDQ
Left axis deviation |
Left ventricular hypertrophy |
Lateral ST-T changes are nonspecific |
Normal ECG |
Abnormal ECG |
Pseudo-infarct pattern |
Sinusrhythmus. Linkstyp. Normales EKG | SR
Vorhofflimmern | AF
Tachykardes Vorhofflimmern, Linksschenkelblock | AF, TACHY, LBBB
AV-Block I. Grades | AVB, AVB1
Unvollständiger Rechtsschenkelblock | RBBB
Sinustachykardie, ventrikuläre Extrasystole(n) | SR, TACHY, PVC
Inferiorer Infarkt, Alter unbest. | MI
Schrittmacher EKG | PACE
"""
DENIED = """
No evidence of infarct |
No infarction or ischemia |
No PVCs, PACs or pacemaker |
Sinus rhythm without PVCs | SR
Sinus rhythm, no pre-excitation | SR
Not atrial fibrillation |
Atrial fibrillation is no longer present |
Atrial fibrillation no longer present; sinus rhythm | SR
Sinus rhythm has replaced atrial fibrillation | SR
Atrial fibrillation replaced by sinus rhythm | SR
Atrial fibrillation has been replaced by sinus rhythm | SR
RBBB and PVCs are no longer seen |
Since previous tracing, atrial fibrillation is no longer present | 
Ventricular pacing has resolved |
History of atrial fibrillation |
Previous atrial fibrillation; sinus rhythm | SR
Compared to previous tracing sinus bradycardia is new | SR, BRADY
Left bundle branch block absent |
Irregular rhythm, no P waves: atrial fibrillation | AF
Kein Infarkt |
No significant change since previous tracing |
Sinus rhythm instead of atrial flutter | SR
Pacemaker rhythm is no longer present |
Sinus rhythm; Wolff-Parkinson-White pattern not seen | SR
Infarct; no infarct | MI
"""
UNCERTAIN = """
Possible inferior infarct | MI=0.5
Possible inferior infarct - age undetermined | MI=0.5
Probable anterior infarct | MI=0.75
Probable old inferior infarct | MI=0.75
Consider acute infarct | MI=0.5
Anterior ST elevation, CONSIDER ACUTE INFARCT | MI=0.5
Cannot rule out anterior infarct | MI=0.25
Old anteroseptal infarct cannot be excluded | MI=0.25
Septal infarct, possible | MI=0.5
Possible atrial flutter | AFL=0.5
Probable atrial fibrillation with rapid ventricular response | AF=0.75, TACHY
Borderline first degree AV block | AVB=0.5, AVB1=0.5
Suspect lead reversal |
Consider left atrial enlargement |
Poor R wave progression - cannot rule out anteroseptal infarct | MI=0.25
Poor R wave progression - probable normal variant; Sinus rhythm | SR
Inferior Q waves consistent with old inferior infarct | MI=0.75
Wide QRS tachycardia, consider ventricular tachycardia | TACHY, VT=0.5
Atrial fibrillation or flutter | AF=0.5, AFL=0.5
Sinus or ectopic atrial rhythm | SR=0.5
Sinus or ectopic atrial tachycardia | SR=0.5, TACHY
Ventricular tachycardia or SVT with aberrancy | VT=0.5, SVTA=0.5, TACHY=0.5
Possible RBBB and left anterior fascicular block | RBBB=0.5, BIF=0.5
Possible inferior infarct, sinus rhythm | MI=0.5, SR
Possible inferior infarct; inferior infarct | MI
Premature ventricular or aberrantly conducted complexes | PVC=0.5
Inferiorer Infarkt möglich | MI=0.5
Infarkt nicht auszuschliessen | MI=0.25
Possible left atrial enlargement inferior infarct | MI
? old inferior infarct | MI=0.5
"""
MISSPELT = """
Sinus rythm | SR
Snius rhythm with prematue ventricular contration | SR, PVC
Atrail fibrilation | AF
Sinus bradycadia | SR, BRADY
Sinus tachicardia | SR, TACHY
Inferior infact - age undetermind | MI
Right bundel branch blcok | RBBB
Posible anterior infarciton | MI=0.5
SINUS RHYTHM WITH 1ST DEGREE A.V. BLOCK | SR, AVB, AVB1
Baseline artefact | PDQ
"""
JOINED = """
sinus rhythm possible inferior infarct - age undetermined abnormal ecg | SR, MI=0.5
atrial fibrillation with rapid ventricular response left axis deviation rbbb and lafb | AF, TACHY, RBBB, BIF
sinus rhythm with pvc(s) lateral t wave changes may be due to myocardial ischemia abnormal ecg | SR, PVC
sinus tachycardia possible left atrial enlargement septal infarct - age undetermined | SR, TACHY, MI
sinus rhythm anterior infarct, possibly acute left bundle branch block | SR, MI, LBBB
atrial fibrillation inferior infarct cannot be excluded abnormal ecg | AF, MI=0.25
ventricular pacing atrial fibrillation is no longer present abnormal rhythm ecg | PACE
sinus bradycardia with 1st degree a-v block poor r wave progression - probable normal variant | SR, BRADY, AVB, AVB1
"""


def table():
    """Return (text, {label: certainty}) of every statement."""
    rows = []
    for block in (STATED, DENIED, UNCERTAIN, MISSPELT, JOINED):
        for line in block.strip().splitlines():
            text, _, said = line.rpartition("|")
            parts = [part.strip().partition("=") for part in said.split(",") if part.strip()]
            rows.append((text.strip(), {SHORT[name]: float(number or 1) for name, _, number in parts}))
    return rows
