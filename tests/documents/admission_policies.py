"""Writes deploy/16-admission-policies.yaml from the models.

python -m tests.documents.admission_policies
"""

from pathlib import Path

from spark_allocation.api.admission import admission_policy_file

FILE = Path(__file__).parents[2] / "deploy" / "16-admission-policies.yaml"

if __name__ == "__main__":
    FILE.write_text(admission_policy_file())
