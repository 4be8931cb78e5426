"""Generated pedestrians in both modalities, written in the layouts of the real datasets.

The walk: ``appearance`` draws who a person is, ``pose`` how they stand and how a camera sees them;
``figure``, ``head`` and ``belongings`` turn both into flat parts, ``canvas`` paints the parts as
material numbers, ``rendering`` gives the materials their colors or infrared reflectances and adds
scene and sensor, ``layouts`` decides the path of each image, ``generate`` writes the tree.
"""
