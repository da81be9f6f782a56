"""Control: Gymnasium's CartPole-v1, attacked at every step through what the agent sees."""
