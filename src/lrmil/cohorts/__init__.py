"""A folder and a table become checked, labelled, split slides."""
