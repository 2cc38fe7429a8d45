import pytest

from schemas.errors import ClassMapError
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap, LabelConfig, label_config

CLASS_MAP = ClassMap(
    [ClassEntry("road", "#804080"), ClassEntry("traffic sign", "#dcdc00"), ClassEntry("Bäume & <x>", "#000001")]
)


def test_index_is_position_and_void_is_255():
    assert [CLASS_MAP.index(name) for name in CLASS_MAP.names] == [0, 1, 2]
    assert CLASS_MAP.index("void") == VOID_INDEX
    assert CLASS_MAP.index("grass") is None
    assert CLASS_MAP.label(VOID_INDEX) == "void"
    assert CLASS_MAP.color_rgb(0) == (0x80, 0x40, 0x80)


def test_the_digest_changes_with_names_and_order_only():
    recoloured = ClassMap([ClassEntry(name, "#ffffff", 3) for name in CLASS_MAP.names])
    reordered = ClassMap(list(reversed(CLASS_MAP.entries)))
    assert recoloured.digest() == CLASS_MAP.digest() != reordered.digest()


def test_the_label_config_fits_its_class_map():
    config = LabelConfig.parse(label_config(CLASS_MAP, "photo"))
    config.check(CLASS_MAP)
    assert config.image_field == "photo"
    assert config.controls["PolygonLabels"] == ("polygon", "image")
    assert set(config.controls) == {"PolygonLabels", "RectangleLabels", "EllipseLabels", "BrushLabels"}
    assert all("void" in labels for labels in config.labels.values())


@pytest.mark.parametrize("tag", ["VectorLabels", "BitmaskLabels", "Labels"])
def test_labels_of_any_region_control_count(tag: str):
    labels = '<Label value="road"/><Label value="traffic sign"/><Label value="Bäume &amp; &lt;x&gt;"/>'
    xml = f'<View><Image name="image" value="$image"/><{tag} name="a" toName="image">{labels}</{tag}></View>'
    config = LabelConfig.parse(xml)
    config.check(CLASS_MAP)
    assert config.controls == {tag: ("a", "image")}


def test_every_label_that_disagrees_is_named():
    config = LabelConfig.parse(label_config(ClassMap([ClassEntry("road", "#000000"), ClassEntry("lake", "#0000ff")])))
    with pytest.raises(ClassMapError) as caught:
        config.check(CLASS_MAP)
    message = str(caught.value)
    assert "class map lacks: lake" in message
    assert "label config lacks: Bäume & <x>, traffic sign" in message


@pytest.mark.parametrize(("xml", "said"), [("<View", "not valid XML"), ("<View/>", "no <Image>")])
def test_a_label_config_that_can_not_be_read(xml: str, said: str):
    with pytest.raises(ClassMapError) as caught:
        LabelConfig.parse(xml)
    assert said in str(caught.value)
