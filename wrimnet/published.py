"""The paper's numbers, in percent, to stand beside this code's."""

# By dataset. LLCM: supplement, Table S1, which does not name the direction.
PAPER = {"LLCM": {"Rank-1": 58.38, "mAP": 64.75}}
