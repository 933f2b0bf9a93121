"""All SQL. Rows in, frozen records out; storage records and never decides."""
