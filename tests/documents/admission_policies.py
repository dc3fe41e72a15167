"""Writes the admission policies of the chart from the models; `make chart` makes deploy/16-admission-policies.yaml of them.

python -m tests.documents.admission_policies
"""

from pathlib import Path

from spark_allocation.api.admission import admission_policy_file

CHART = Path(__file__).parents[2] / "charts" / "spark-allocation-operator"
FILE = CHART / "files" / "admission-policies.yaml"

if __name__ == "__main__":
    FILE.write_text(admission_policy_file())
