"""Training, export and measurement of the embedded person re-identification network."""
