"""Training as a job: what is waiting, who trains it, how far it is."""
