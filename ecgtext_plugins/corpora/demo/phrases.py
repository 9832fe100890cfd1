"""The wording of machine reports, finding by finding, as electrocardiographs phrase it."""

PHRASES = {
    "sinus_rhythm": (
        "Sinus rhythm",
        "Sinus rhythm.",
        "Normal sinus rhythm",
        "Normal sinus rhythm, rate {rate}",
        "SINUS RHYTHM",
    ),
    "sinus_bradycardia": (
        "Sinus bradycardia",
        "Sinus bradycardia, rate {rate}",
        "Marked sinus bradycardia",
        "SINUS BRADYCARDIA",
        "Slow rate: sinus bradycardia",
        "Sinus bradycardia with ventricular rate of {rate}",
    ),
    "sinus_tachycardia": (
        "Sinus tachycardia",
        "Sinus tachycardia, rate {rate}",
        "SINUS TACHYCARDIA",
        "Sinus tachycardia.",
        "Fast rate: sinus tachycardia",
        "Sinus tachycardia with ventricular rate of {rate}",
    ),
    "atrial_fibrillation": (
        "Atrial fibrillation",
        "Atrial fibrillation with {response} ventricular response",
        "Atrial fibrillation, average ventricular rate {rate}",
        "ATRIAL FIBRILLATION",
        "Probable atrial fibrillation",
        "Irregular rhythm, no P waves: atrial fibrillation",
    ),
    "first_degree_av_block": (
        "1st degree A-V block",
        "First degree A-V block",
        "Prolonged PR interval",
        "with 1st degree A-V block",
        "1st degree AV block, PR interval {pr} ms",
        "Prolonged PR interval: first degree A-V block",
    ),
    "left_bundle_branch_block": (
        "Left bundle branch block",
        "LBBB",
        "Complete left bundle branch block",
        "LEFT BUNDLE BRANCH BLOCK",
        "IV conduction defect: left bundle branch block",
        "Left bundle-branch block (LBBB)",
    ),
    "right_bundle_branch_block": (
        "Right bundle branch block",
        "RBBB",
        "Complete right bundle branch block",
        "RIGHT BUNDLE BRANCH BLOCK",
        "IV conduction defect: right bundle branch block",
        "Right bundle-branch block (RBBB)",
    ),
    "st_elevation": (
        "{Territory} ST elevation - consider acute infarct",
        "{Territory} ST elevation, CONSIDER ACUTE INFARCT",
        "ST elevation in {territory} leads",
        "{Territory} infarct, acute: ST elevation",
        "Marked ST elevation, possible acute {territory} injury",
        "ST segment elevation, {territory} leads, consider STEMI",
    ),
    "st_depression": (
        "Lateral ST depression may be due to myocardial ischemia",
        "ST depression, consider ischemia, inferolateral leads",
        "ST depression in inferior and lateral leads",
        "Inferior/lateral ST depression, consider subendocardial ischemia",
        "Marked ST depression, possible subendocardial injury",
        "ST segment depression is nonspecific",
    ),
    "t_wave_inversion": (
        "{Territory} T wave inversion",
        "{Territory} T wave inversion may be due to myocardial ischemia",
        "T wave inversion in {territory} leads, consider ischemia",
        "{Territory} T-wave inversion, possible ischemia",
        "T wave inversion, {territory} leads",
        "Abnormal T wave inversion, {territory} leads",
    ),
    "low_voltage": (
        "Low QRS voltages in limb leads",
        "Low QRS voltage",
        "Generalized low QRS voltages",
        "Low QRS voltage, extremity and precordial leads",
        "Low voltage throughout",
        "LOW QRS VOLTAGES",
    ),
    "premature_ventricular_complexes": (
        "Ventricular premature complex",
        "Ventricular premature complexes",
        "with PVC(s)",
        "Frequent PVCs",
        "Premature ventricular complexes",
        "with premature ventricular contraction(s)",
    ),
}
NORMAL = ("Sinus rhythm", "Normal ECG.")  # the report that a large share of normal records has word for word
LAST_NORMAL = ("Normal ECG", "Normal ECG", "NORMAL ECG", "--- Normal ECG ---", "Normal ECG based on available leads")
LAST_RHYTHM_ONLY = (
    "Borderline ECG",
    "Otherwise normal ECG",
    "Otherwise normal ECG",
    "Borderline ECG.",
    "Abnormal rhythm ECG",
)
LAST_ABNORMAL = (
    *("Abnormal ECG", "Abnormal ECG", "Abnormal ECG.", "*** ABNORMAL ECG ***", "*** Abnormal ECG"),
    *("--- Abnormal ECG ---", "ABNORMAL ECG", "Abnormal ECG", "Summary: abnormal ECG", None),
)
ATRIAL_EXTRAS = ("Possible left atrial enlargement", "Left atrial abnormality")
NOISE_EXTRAS = (
    "*** Baseline wander ***",
    "--- Artifact in lead(s) V1 V2 ---",
    "*** Poor data quality, interpretation may be affected",
)
