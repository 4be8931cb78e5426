"""A retrieval set in LLCM's layout from aligned visible and infrared photographs.

The walk: ``photographs`` lists and reads the pairs, ``places`` or ``boxes`` finds the regions that
stand for identities, ``same_scene`` finds photographs that show the same place, ``survey`` does all
that for a folder; ``split`` divides the scenes and numbers the regions; ``views`` and ``responses``
say how a camera sees a region and what its sensor makes of it, ``cuts`` makes an image with both;
``generate`` writes the tree.
"""
