import NetTypes
import Syscalls

/// `subnet.env`: what the CNI plugin learns from the agent (contract flanneld §4).
public struct SubnetFile: Hashable, Sendable {
  /// The cluster's pod networks of the enabled families.
  public var networks: PerFamily<IPPrefix>
  /// This node's subnets of the enabled families.
  public var subnets: PerFamily<IPPrefix>
  /// MTU of the pods, bytes.
  public var mtu: UInt32
  /// Whether the agent masquerades.
  public var masquerade: Bool

  /// - Parameters:
  ///   - networks: of the enabled families; host bits are cleared when written.
  ///   - subnets: of the enabled families; host bits do not count.
  ///   - mtu: bytes, of the pods.
  ///   - masquerade: whether the agent does it, so that the plugins must not.
  public init(networks: PerFamily<IPPrefix>, subnets: PerFamily<IPPrefix>, mtu: UInt32, masquerade: Bool) {
    self.networks = networks
    self.subnets = subnets
    self.mtu = mtu
    self.masquerade = masquerade
  }

  /// The exact content. A subnet is written as its first usable address with the subnet's length.
  public var text: String {
    var out = ""
    for family in AddressFamily.allCases {
      let key = "FLANNEL_" + family.variableInfix
      if let network = networks[family] { out += "\(key)NETWORK=\(network.network)\n" }
      if let subnet = subnets[family] {
        out += "\(key)SUBNET=\(subnet.base.advanced(by: 1) ?? subnet.base)/\(subnet.length)\n"
      }
    }
    return out + "FLANNEL_MTU=\(mtu)\nFLANNEL_IPMASQ=\(masquerade)\n"
  }

  /// Writes the file so that a reader sees the old or the new content: directory 0755 (with parents), file 0644
  /// whatever the umask.
  public func write(to path: String) throws(SystemError) {
    try Files.makeDirectory(Files.split(path).directory)
    try Files.writeAtomically(text.utf8, to: path, mode: 0o644)
  }

  /// This node's subnets from an earlier run, to ask for the same ones again. Anything unusable counts as "none" and is
  /// reported through `warn`.
  public static func previousSubnets(at path: String, warn: (String) -> Void) -> PerFamily<IPPrefix> {
    let text: String
    do {
      text = try Files.text(path, limit: 1 << 16)
    } catch {
      if error.errno != .noEntry { warn("cannot read the previous subnet: \(error)") }
      return PerFamily()
    }
    var out = PerFamily<IPPrefix>()
    for family in AddressFamily.allCases {
      let name = "FLANNEL_\(family.variableInfix)SUBNET"
      let found = prefixes(named: name, family, in: text) { warn("\(path): \($0)") }
      if found.count > 1 {
        warn("\(path): \(name) holds \(found.count) subnets where one is expected; none of them is used")
      } else {
        out[family] = found.first
      }
    }
    return out
  }

  /// The networks of a comma list, host bits cleared, in order. Bad entries are reported and left out.
  static func prefixes(
    named name: String, _ family: AddressFamily, in text: String, warn: (String) -> Void
  ) -> [IPPrefix] {
    guard let value = EnvironmentFile.value(of: name, in: text) else { return [] }
    var out: [IPPrefix] = []
    for entry in value.split(separator: ",") {
      let word = EnvironmentFile.trimmed(entry)
      if let prefix = IPPrefix(word), prefix.family == family {
        out.append(prefix.network)
      } else {
        warn(
          "\(name): \"\(word)\" is not an \(family == .ipv4 ? "IPv4" : "IPv6") subnet such as \(family == .ipv4 ? "10.244.1.1/24" : "fd00:10:244:1::1/64"); left out"
        )
      }
    }
    return out
  }
}

extension AddressFamily {
  /// What stands between `FLANNEL_` and `SUBNET`: empty or `IPV6_`.
  fileprivate var variableInfix: String { self == .ipv4 ? "" : "IPV6_" }
}

/// Files of `NAME=value` lines: comments, blank lines, `export`, single and double quotes.
enum EnvironmentFile {
  /// The value of the last line that sets `name`; nil when none does.
  static func value(of name: String, in text: String) -> String? {
    var out: String?
    for line in text.split(whereSeparator: \.isNewline) {
      var rest = trimmed(line)
      if rest.hasPrefix("export "), let space = rest.firstIndex(of: " ") { rest = trimmed(rest[space...]) }
      guard !rest.hasPrefix("#"), let equals = rest.firstIndex(of: "="), trimmed(rest[..<equals]) == name else {
        continue
      }
      out = unquoted(trimmed(rest[rest.index(after: equals)...]))
    }
    return out
  }

  static func trimmed(_ s: Substring) -> Substring {
    let from = s.drop(while: \.isWhitespace)
    guard let last = from.lastIndex(where: { !$0.isWhitespace }) else { return from.prefix(0) }
    return from[...last]
  }

  /// The text between quotes, or up to a comment that follows white space.
  private static func unquoted(_ s: Substring) -> String {
    if let quote = s.first, quote == "\"" || quote == "'" {
      let rest = s.dropFirst()
      if let end = rest.firstIndex(of: quote) { return String(rest[..<end]) }
      return String(rest)
    }
    guard
      let hash = s.indices.first(where: { s[$0] == "#" && ($0 == s.startIndex || s[s.index(before: $0)].isWhitespace) })
    else { return String(s) }
    return String(trimmed(s[..<hash]))
  }
}
