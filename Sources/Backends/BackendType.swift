/// The back ends by their names in the network configuration (contract flanneld §2.4).
public enum BackendType: String, CaseIterable, Sendable {
  case vxlan

  /// Names that upstream knows and this version does not serve yet.
  private static let later: Set<String> = [
    "alloc", "extension", "host-gw", "ipip", "ipsec", "tencent-vpc", "udp", "wireguard",
  ]

  /// Looks a lower-case name up.
  public init(named name: String) throws(BackendError) {
    if let known = BackendType(rawValue: name) {
      self = known
      return
    }
    guard Self.later.contains(name) else { throw BackendError("unknown backend type: \(name)") }
    let supported = Self.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
    throw BackendError(
      "backend type \"\(name)\" is not supported by this version yet: set \"Backend\": {\"Type\": …} to \(supported)")
  }
}
