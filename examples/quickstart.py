# %% [markdown]
# # A trained model in Python: load, embed, rank, plot
#
# `make demo` makes the run and the images that are used here. Editors and Jupyter (with jupytext)
# open this file as cells; `python examples/quickstart.py` runs all of them in the repository.

# %%
import matplotlib.pyplot as plt
from PIL import Image

import wrimnet

embedder = wrimnet.load("logs/Synthetic/wrim")
dataset = wrimnet.load_dataset("LLCM", "datasets/synthetic")
print(embedder)

# %% [markdown]
# ## Embed
# Crops of one upright person each, of any size. The modality is said by the caller.

# %%
queries, gallery = dataset.query[::7][:4], dataset.gallery  # infrared, visible
query_rows = embedder.embed([item.path for item in queries], "infrared")  # (4, D) float32
gallery_rows = embedder.embed([item.path for item in gallery], "visible")  # (G, D)

# %% [markdown]
# ## Rank
# Rows have L2 norm 1, so dot products are cosine similarities.

# %%
similarity = query_rows @ gallery_rows.T  # (4, G)
nearest = similarity.argsort(axis=1)[:, ::-1][:, :5]  # (4, 5), the most similar first

# %% [markdown]
# ## Plot
# Green: the query's identity.

# %%
figure, axes = plt.subplots(len(queries), 6, figsize=(6, 9), layout="constrained")
for query, columns, row in zip(queries, nearest, axes, strict=True):
    row[0].imshow(Image.open(query.path))
    row[0].set_title("query", fontsize="small")
    for place, column in zip(row[1:], columns, strict=True):
        place.imshow(Image.open(gallery[column].path))
        color = "green" if gallery[column].pid == query.pid else "red"
        place.set_title(f"id {gallery[column].pid}", fontsize="small", color=color)
for place in axes.flat:
    place.set_axis_off()
figure.savefig("logs/quickstart.png")

# %% [markdown]
# ## Score
# The same numbers as the training's, in percent.

# %%
for protocol, metrics in wrimnet.evaluate(embedder, dataset).items():
    print(protocol, {name: round(value, 2) for name, value in metrics.items()})
