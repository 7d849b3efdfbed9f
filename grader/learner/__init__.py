"""What a learner has between two gradings: the work folder, the hints, and the watch that grades at every save."""
