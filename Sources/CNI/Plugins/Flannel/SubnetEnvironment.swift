import NetTypes
import Syscalls

/// The content of `subnet.env`: what flanneld tells the plugin about this node (contract cni §B1).
public struct SubnetEnvironment: Hashable, Sendable {
  /// The pod networks of a family, in file order without repetitions.
  public var networks: [IPPrefix] = []
  /// The same for IPv6, `FLANNEL_IPV6_NETWORK`.
  public var ipv6Networks: [IPPrefix] = []
  /// The node's own subnets, without host bits.
  public var subnet: IPPrefix?
  /// The same for IPv6, `FLANNEL_IPV6_SUBNET`.
  public var ipv6Subnet: IPPrefix?
  /// Bytes.
  public var mtu: UInt32 = 0
  /// True when flanneld masquerades, so that the delegate must not.
  public var ipMasq = false

  /// Reads a file. Errors are in the words of the reference plugin: `open <file>: no such file or directory`,
  /// `<file> is missing FLANNEL_MTU`.
  public init(file: String) throws(CNIError) {
    let text: String
    do throws(SystemError) {
      text = try Files.text(file, limit: 1 << 20)
    } catch {
      throw CNIError(error)
    }
    try self.init(parsing: text, file: file)
  }

  /// Reads the text of a file; the name is for errors. Unknown keys and lines without `=` are passed over; a key that
  /// comes again replaces the earlier one.
  public init(parsing text: String, file: String) throws(CNIError) {
    var hasMTU = false
    var hasMasq = false
    for line in text.split(whereSeparator: \.isNewline) {
      guard let equals = line.utf8.firstIndex(of: UInt8(ascii: "=")) else { continue }
      let value = line[line.utf8.index(after: equals)...].filter { !$0.isWhitespace }
      do throws(CNIError) {
        switch line[..<equals] {
        case "FLANNEL_NETWORK": networks = try Self.list(value)
        case "FLANNEL_IPV6_NETWORK": ipv6Networks = try Self.list(value)
        case "FLANNEL_SUBNET": subnet = try Self.prefix(value)
        case "FLANNEL_IPV6_SUBNET": ipv6Subnet = try Self.prefix(value)
        case "FLANNEL_MTU":
          guard let n = UInt32(value) else { throw invalid("\(quoted(value)) is no number of bytes") }
          mtu = n
          hasMTU = true
        case "FLANNEL_IPMASQ":
          ipMasq = value == "true"
          hasMasq = true
        default: break
        }
      } catch {
        throw error.prefixed("\(file): \(line[..<equals]): ")
      }
    }
    var missing: [String] = []
    if networks.isEmpty, ipv6Networks.isEmpty { missing += ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"] }
    if subnet == nil, ipv6Subnet == nil { missing += ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"] }
    if !hasMTU { missing.append("FLANNEL_MTU") }
    if !hasMasq { missing.append("FLANNEL_IPMASQ") }
    guard missing.isEmpty else { throw .plain("\(file) is missing \(missing.joined(separator: ", "))") }
  }

  private static func list(_ text: String) throws(CNIError) -> [IPPrefix] {
    var out: [IPPrefix] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let p = try prefix(part)
      if !out.contains(p) { out.append(p) }
    }
    return out
  }

  private static func prefix(_ text: some StringProtocol) throws(CNIError) -> IPPrefix {
    guard let p = IPPrefix(text) else { throw invalid("invalid CIDR address: \(text)") }
    return p.network
  }
}
