"""Traces of studies, from their association to their delivery, told from the records."""
