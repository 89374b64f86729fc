"""Coverage-guided fuzzing of what meets strangers first: a request's envelope and header, an image's header."""
