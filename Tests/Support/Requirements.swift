import Glibc
import Testing

/// What a test may need from the machine.
public enum Requirements {
  /// The tests run as root and may make network namespaces.
  public static var isRoot: Bool { geteuid() == 0 }

  /// The kernel filters VLANs on bridges (`CONFIG_BRIDGE_VLAN_FILTERING`).
  public static let hasBridgeVLANs: Bool = {
    guard isRoot, let ns = try? TestNamespace("probe", loopback: false) else { return false }
    return (try? ns.ip("link", "add", "br0", "type", "bridge", "vlan_filtering", "1")) != nil
  }()
}

extension Trait where Self == ConditionTrait {
  /// Skips, by name and with a reason, where network namespaces cannot be made.
  public static var needsRoot: Self {
    .enabled(if: Requirements.isRoot, "needs root: makes network namespaces")
  }

  /// Skips, by name and with a reason, where bridges cannot filter VLANs.
  public static var needsBridgeVLANs: Self {
    .enabled(if: Requirements.hasBridgeVLANs, "needs root and a kernel with CONFIG_BRIDGE_VLAN_FILTERING")
  }
}
