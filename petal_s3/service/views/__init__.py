"""What is answered, as types: every front end, ``--json`` and OpenAPI show these and no others."""
