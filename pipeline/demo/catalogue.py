"""The articles of the simulated shop: which department and style each belongs to, and a title a person can picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STYLES = ("rustic", "nordic", "classic", "industrial")

# A department: what it sells, and what that is made of in each style, in the order of STYLES.
DEPARTMENTS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "Furniture": (
        ("side table", "bookshelf", "stool", "bench", "desk", "bedside cabinet", "coat stand", "dining chair"),
        (("Oak", "Reclaimed pine"), ("Birch", "Ash"), ("Walnut", "Cherry"), ("Steel", "Cast-iron")),
    ),
    "Lighting": (
        ("table lamp", "floor lamp", "pendant", "wall light", "lantern", "reading lamp", "spotlight", "candlestick"),
        (("Rattan", "Wicker"), ("Paper", "Opal glass"), ("Brass", "Crystal"), ("Concrete", "Copper")),
    ),
    "Kitchen": (
        ("mixing bowl", "serving plate", "mug", "teapot", "jug", "spice jar", "butter dish", "egg cup"),
        (("Stoneware", "Terracotta"), ("Porcelain", "Clear glass"), ("Bone china", "Cut glass"), ("Enamel", "Pewter")),
    ),
    "Textiles": (
        ("cushion", "throw", "bedspread", "curtain", "tablecloth", "rug", "table runner", "quilt"),
        (("Jute", "Hemp"), ("Linen", "Wool"), ("Velvet", "Silk"), ("Denim", "Canvas")),
    ),
    "Garden": (
        ("planter", "watering can", "bird bath", "trellis", "garden bench", "flower box", "bird table", "plant stand"),
        (("Willow", "Stone"), ("Cedar", "Larch"), ("Wrought-iron", "Teak"), ("Zinc", "Weathered steel")),
    ),
    "Nursery": (
        ("building blocks", "rocking horse", "pull-along dog", "doll's house", "puzzle", "mobile", "train", "boat"),
        (("Beech", "Knitted"), ("Maple", "Felt"), ("Painted", "Lacquered"), ("Tin", "Rubber")),
    ),
    "Study": (
        ("pen tray", "letter rack", "desk pad", "bookend", "wall clock", "filing box", "picture frame", "paper tray"),
        (("Cork", "Driftwood"), ("Bamboo", "Plywood"), ("Leather", "Mahogany"), ("Aluminium", "Wire")),
    ),
    "Storage": (
        ("laundry basket", "shoe rack", "storage box", "chest", "tray", "wall hook", "umbrella stand", "key box"),
        (("Seagrass", "Chestnut"), ("Spruce", "White-washed"), ("Rosewood", "Gilded"), ("Mesh", "Galvanised")),
    ),
}
VARIANTS = ("", " in grey", " in sand", " in green", " in blue", " in white", " in black", " in red")


class Catalogue:
    """Every article that the shop of one seed will ever sell, by number; an article never changes.

    The titles are used up in a shuffled order, plain ones first; a shop that outlives them all sells second editions.
    """

    def __init__(self, seed: int) -> None:
        """Shuffles the titles by `seed`."""
        self._plain = [
            (department, style, material, noun)
            for department, (nouns, materials) in enumerate(DEPARTMENTS.values())
            for style, names in enumerate(materials)
            for material in names
            for noun in nouns
        ]
        self._order = np.random.default_rng([seed, 0]).permutation(len(self._plain))
        self._departments = np.array([department for department, *_ in self._plain])[self._order]
        self._styles = np.array([style for _, style, *_ in self._plain])[self._order]

    def departments(self, count: int) -> npt.NDArray[np.int64]:
        """The department numbers of the first `count` articles, shape `[count]`."""
        return np.resize(self._departments, count)

    def styles(self, count: int) -> npt.NDArray[np.int64]:
        """The style numbers of the first `count` articles, shape `[count]`."""
        return np.resize(self._styles, count)

    def category(self, number: int) -> str:
        """The name of the department of article `number`."""
        return tuple(DEPARTMENTS)[self._departments[number % len(self._plain)]]

    def material(self, number: int) -> str:
        """What article `number` is made of, which says its style."""
        return self._plain[self._order[number % len(self._plain)]][2]

    def title(self, number: int) -> str:
        """A title that no other article has, such as 'Walnut side table'."""
        round_, place = divmod(number, len(self._plain))
        edition, variant = divmod(round_, len(VARIANTS))
        _, _, material, noun = self._plain[self._order[place]]
        title = f"{material} {noun}{VARIANTS[variant]}"
        return f"{title}, edition {edition + 1}" if edition else title
