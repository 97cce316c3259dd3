"""The same function in other ways; each module is the whole source of an artefact."""
