"""Speech task: strings of spoken digits and the models that transcribe them."""
