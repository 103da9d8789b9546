"""The conditional GAN on the U-Net: sizes, what its random numbers do, how far it sees, how it is judged."""

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.contract import NoiseGrid
from gfs_sr.errors import UsageError
from gfs_sr.models.gan import DiscriminatorConfig, PatchGlobalDiscriminator
from gfs_sr.models.receptive_field import probe
from gfs_sr.models.unet_blocks import ResidualBlock
from tests.models.networks import coarse_input, shake

TINY = {"family": "gan", "width": 8, "multipliers": [1, 2], "blocks": 1, "dropout": 0.0, "attention_heads": 2}
FINITE = {**TINY, "latent": "cells", "normalization": "cell", "attention": "none", "scale_factor": 4}


def build(**options):
    return models.build({**TINY, **options}).eval()


def numbers(network, coarse, seed=0):
    """Its random inputs for a coarse field with its halo."""
    rng = torch.Generator().manual_seed(seed)
    B, T, _, H, W = coarse.shape
    r, s = network.facts.time_factor, network.facts.scale_factor
    return {
        each.graph_input: torch.randn(B, r * T, each.channels, 1, 1, generator=rng)
        if each.grid is NoiseGrid.SHARED
        else torch.randn(B, r * T, each.channels * s * s, H, W, generator=rng)
        for each in network.noise
    }


def test_s004_15_generator_and_discriminator_have_the_parameters_of_the_specification():
    generator = models.build({"family": "gan", **models.LARGE_SCALE})
    with torch.device("meta"):
        judge = PatchGlobalDiscriminator(15, DiscriminatorConfig(128, 2, discriminator="patch_global"))
    assert generator.parameters_count == 61_896_406
    assert sum(each.numel() for each in generator.backbone.parameters()) == 60_725_633
    assert sum(each.numel() for each in judge.parameters()) == 1_891_587


def test_s004_15_the_latent_vectors_are_1024_numbers_and_as_many_as_the_embedding_has():
    generator = build(**{**TINY, "width": 128, "attention_heads": 4})
    assert [(each.name, each.grid, each.channels) for each in generator.noise] == [
        ("latent", NoiseGrid.SHARED, 1024), ("style", NoiseGrid.SHARED, 128),
    ]  # fmt: skip


@pytest.mark.parametrize("latent", ["vector", "cells"])
@pytest.mark.parametrize("moved", ["noise_latent", "noise_style"])
def test_s004_15_either_vector_makes_another_member_and_nothing_else_does(latent, moved):
    torch.manual_seed(0)
    network = build(latent=latent, scale_factor=4)
    torch.nn.init.normal_(network.output_weight)  # silent until it is trained
    for block in network.backbone.modules():
        if isinstance(block, ResidualBlock):
            torch.nn.init.normal_(block.second.weight, std=0.1)
    coarse = torch.randn(2, 1, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    given, others = numbers(network, coarse), numbers(network, coarse, seed=1)
    member = network(coarse, **given)
    torch.testing.assert_close(network(coarse, **given), member, rtol=0, atol=0)
    other = network(coarse, **given | {moved: others[moved]})
    assert (other - member).abs().mean() > 0.01 * member.abs().mean()


@pytest.mark.parametrize("latent", ["vector", "cells"])
def test_s004_15_a_frame_is_drawn_from_its_own_numbers(latent):
    network = shake(build(latent=latent, scale_factor=2, variables=["t2m", "msl"]))
    coarse = torch.randn(1, 3, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    given = numbers(network, coarse)
    whole = network(coarse, **given)
    assert whole.shape == (1, 3, 2, 6, 8)
    for frame in range(3):
        alone = {name: each[:, frame : frame + 1] for name, each in given.items()}
        torch.testing.assert_close(network(coarse[:, frame : frame + 1], **alone)[:, 0], whole[:, frame])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (32, 32), (40, 33)])
def test_s004_15_fields_of_any_size_are_drawn(rows, columns):
    """The seed's latent map is 128 by 128 cells, and so is its field."""
    network = shake(build(scale_factor=4))
    coarse = torch.randn(1, 1, 1, rows, columns)
    assert network(coarse, **numbers(network, coarse)).shape == (1, 1, 1, 4 * rows, 4 * columns)


def test_the_untrained_generator_is_the_interpolation():
    network = build(**FINITE)
    coarse = coarse_input(network.reach, channels=1, rows=3, columns=2)
    expected = network.base.within(coarse, network.reach)
    torch.testing.assert_close(network(coarse, **numbers(network, coarse)), expected)


def test_with_a_number_of_each_cell_it_sees_exactly_as_far_as_it_says():
    network = shake(build(**FINITE))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # of one sign, no unit hides what it sees
    coarse = coarse_input(network.reach, channels=1).abs()
    given = {name: each.abs() for name, each in numbers(network, coarse).items()}
    assert probe(lambda x: network(x, **given), coarse, network.reach, 4, 1) == network.reach


def test_a_map_of_the_whole_field_makes_the_reach_global():
    assert build(**{**FINITE, "latent": "vector"}).reach == "global"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"latent": "noise"}, "neither vector nor cells"), ({"level_embedding": "fourier"}, "identity")],
    ids=str,
)
def test_what_is_no_generator_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        build(**options)


@pytest.mark.parametrize(
    ("side", "patches"), [(128, (16, 6)), (60, (4, 6)), (33, (4, 6)), (32, (1, 6)), (20, (1, 3)), (12, (1, 1))]
)
def test_s004_15_patches_cover_the_field_and_the_whole_has_a_verdict_of_its_own(side, patches):
    judge = PatchGlobalDiscriminator(3, DiscriminatorConfig(4, 1, discriminator="patch_global")).eval()
    with torch.no_grad():
        of_patches, of_whole = judge(torch.randn(2, 3, 2, side, side), torch.randn(2, 3, 1, side, side))
    count, left = patches
    assert of_patches.shape == (6 * count, 1, left, left)
    assert of_whole.shape == (6, 1)


@pytest.mark.parametrize("side", [64, 45])
def test_every_cell_counts_in_some_patch(side):
    judge = shake(PatchGlobalDiscriminator(1, DiscriminatorConfig(4, 1, discriminator="patch_global", window=20)), 0.5)
    field = torch.zeros(1, 1, 1, side, side, requires_grad=True)
    of_patches, _ = judge.eval()(torch.zeros(1, 1, 0, side, side), field)
    of_patches.sum().backward()
    assert np.count_nonzero(field.grad) == side * side


@pytest.mark.parametrize(
    ("options", "said"),
    [({"discriminator": "critic"}, "neither two_branch nor patch_global"), ({"window": 8}, "below 12")],
    ids=str,
)
def test_what_is_no_discriminator_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        DiscriminatorConfig(**options)


def test_fields_too_small_for_a_patch_are_refused():
    judge = PatchGlobalDiscriminator(2, DiscriminatorConfig(4, 1, discriminator="patch_global"))
    with pytest.raises(ValueError, match="too small"):
        judge(torch.zeros(1, 1, 1, 11, 16), torch.zeros(1, 1, 1, 11, 16))
