import Glibc
import Syscalls
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

  /// Programs that are not in the system's directories.
  public static func missing(_ programs: [String]) -> [String] {
    programs.filter { name in
      !["/usr/sbin", "/usr/bin", "/sbin", "/bin"].contains { Files.isExecutable("\($0)/\(name)") }
    }
  }
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

  /// Skips, by name and with a reason, where programs of Debian packages are missing.
  public static func needsPrograms(_ programs: String...) -> Self {
    let missing = Requirements.missing(programs)
    return .enabled(if: missing.isEmpty, "missing \(missing.joined(separator: ", ")): make packages-test")
  }
}
