"""Many runs of ``tools/train_net.py`` as one experiment: which, when, what they say together."""
