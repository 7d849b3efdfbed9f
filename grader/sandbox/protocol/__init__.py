"""What grader and worker share: the messages, the frames that carry them and how one is turned into the other."""
