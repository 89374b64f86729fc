"""Coverage-guided fuzzing of what meets strangers first: a client's bytes, a request's header, an image's."""
