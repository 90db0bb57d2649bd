"""Domain adaptation: a labelled source, an unlabelled target, and ordinary Keras models that learn from both."""

from tlkit.domain.adaptation_comparison import AdaptationComparison
from tlkit.domain.adaptation_scores import AdaptationScores
from tlkit.domain.adversarial import build_cdan, build_dann
from tlkit.domain.alignment import build_coral, build_dan, build_mcc
from tlkit.domain.check_domains import check_different_files, check_different_texts, check_same_classes
from tlkit.domain.check_paired import check_paired
from tlkit.domain.comparison import compare_adaptation
from tlkit.domain.correlation_alignment import CorrelationAlignment, correlation_alignment
from tlkit.domain.domain_discriminator import DomainDiscriminator
from tlkit.domain.domain_loss import DomainLoss
from tlkit.domain.domains import SOURCE_DOMAIN, TARGET_DOMAIN
from tlkit.domain.entropy_conditioning import EntropyConditioning, entropy_weights
from tlkit.domain.feature_validators import cluster_agreement, reverse_validation
from tlkit.domain.gradient_reversal import GradientReversal
from tlkit.domain.gradient_scaling import GradientScaling, scale_gradient
from tlkit.domain.maximum_mean_discrepancy import MaximumMeanDiscrepancy, maximum_mean_discrepancy
from tlkit.domain.minimum_class_confusion import MinimumClassConfusion, minimum_class_confusion
from tlkit.domain.multilinear_map import MultilinearMap, RandomizedMultilinearMap
from tlkit.domain.one_domain import one_domain
from tlkit.domain.pair_domains import pair_domains
from tlkit.domain.proxy_a_distance import proxy_a_distance
from tlkit.domain.two_outputs import label_classifier
from tlkit.domain.validators import entropy_score, information_maximization, soft_neighborhood_density, source_score

__all__ = [
    "SOURCE_DOMAIN",
    "TARGET_DOMAIN",
    "AdaptationComparison",
    "AdaptationScores",
    "CorrelationAlignment",
    "DomainDiscriminator",
    "DomainLoss",
    "EntropyConditioning",
    "GradientReversal",
    "GradientScaling",
    "MaximumMeanDiscrepancy",
    "MinimumClassConfusion",
    "MultilinearMap",
    "RandomizedMultilinearMap",
    "build_cdan",
    "build_coral",
    "build_dan",
    "build_dann",
    "build_mcc",
    "check_different_files",
    "check_different_texts",
    "check_paired",
    "check_same_classes",
    "cluster_agreement",
    "compare_adaptation",
    "correlation_alignment",
    "entropy_score",
    "entropy_weights",
    "information_maximization",
    "label_classifier",
    "maximum_mean_discrepancy",
    "minimum_class_confusion",
    "one_domain",
    "pair_domains",
    "proxy_a_distance",
    "reverse_validation",
    "scale_gradient",
    "soft_neighborhood_density",
    "source_score",
]
