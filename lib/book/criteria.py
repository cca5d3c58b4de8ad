"""What the book decides, and what is known beforehand of every organism: data, and nothing else."""

#: key -> what is true of a model that meets the criterion. The original study's four, then two of
#: ours.
CRITERIA = {
    "activations": "Activations tell emotions apart",
    "features": "Features are about one thing, and about emotion",
    "causes": "Causes act as in human hearing",
    "steering": "Steering moves emotion coherently",
    "path": "Tempo acts on arousal through energy",
    "quality": "Steering costs no more than a random push of the same size",
}

#: organism -> criterion -> the verdict that a method must give, set by how the organism was made.
#: Of the quality of steering nothing is known beforehand.
KNOWN = {
    "organism": {
        "activations": "yes",
        "features": "yes",
        "causes": "yes",
        "steering": "yes",
        "path": "yes",
    },
    "organism-decoupled": {
        "activations": "yes",
        "features": "yes",
        "causes": "yes",
        "steering": "yes",
        "path": "no",
    },
    "organism-shuffled": {
        "activations": "no",
        "features": "no",
        "causes": "no",
        "steering": "no",
        "path": "no",
    },
}
