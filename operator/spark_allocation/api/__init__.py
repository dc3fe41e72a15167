"""The user's language: our kinds as pydantic models, and the CRDs made from them."""
