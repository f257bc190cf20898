public import NetTypes
public import Netlink

/// What we look at in a rule, as iptables put it into the kernel. Both variants of iptables
/// keep matches and targets in the same structures; what is not looked at is left out.
public struct IptablesRule: Hashable, Sendable {
  /// The kernel's number in nf_tables; 0 in the legacy variant.
  public var handle: UInt64 = 0
  /// Number of the transport protocol; 0 = any.
  public var transport: UInt8 = 0
  /// nil = any.
  public var source: IPPrefix?
  /// nil = any.
  public var destination: IPPrefix?
  /// A match on `destination` that is inverted.
  public var isInverted = false
  /// The one destination port of a rule.
  public var port: UInt16?
  /// As `-m comment` gives it.
  public var comment: String?
  /// The chain that the rule jumps to; `ACCEPT` and the like for verdicts.
  public var jump = ""
  /// Where the destination is changed to.
  public var translated: IPAddress?
  /// Every packet takes it, and comes back if `jump` is a chain: no match but the comment, no `-g`.
  public var isPlain = true

  /// Everything of the rule but counters and numbers, in the kernel's own form: equal rules are equal here. In the legacy
  /// variant a jump is a place in the table, so `jump` must be compared too.
  public var form: [UInt8] = []

  /// A rule that looks at nothing.
  public init() {}

  /// Takes an extension's own data: `struct xt_tcp`, `xt_udp`, `xt_sctp_info`, `xt_comment_info`.
  mutating func match(_ name: String, _ info: some RandomAccessCollection<UInt8>) {
    let bytes = Array(info)
    if name != "comment" { isPlain = false }
    switch name {
    case "tcp", "udp": port = Self.singlePort(bytes.dropFirst(4))
    case "sctp": port = Self.singlePort(bytes[...])
    case "comment": comment = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    default: break
    }
  }

  /// Takes a target's own data: `struct nf_nat_range2`, or in revision 0 of IPv4 `nf_nat_ipv4_multi_range_compat`.
  mutating func target(_ name: String, revision: UInt32, _ info: some RandomAccessCollection<UInt8>, _ f: AddressFamily)
  {
    jump = name
    guard name == "DNAT" else { return }
    let offset = revision == 0 && f == .ipv4 ? 8 : 4
    translated = IPAddress(bytes: info.dropFirst(offset).prefix(f.byteCount))
  }

  /// A range of one port, two numbers in the machine's order.
  private static func singlePort(_ bytes: ArraySlice<UInt8>) -> UInt16? {
    guard bytes.count >= 4 else { return nil }
    let numbers = bytes.prefix(4).map(UInt16.init)
    let low = numbers[0] | numbers[1] << 8
    let high = numbers[2] | numbers[3] << 8
    return low == high && low != 0 ? low : nil
  }
}

// MARK: - nf_tables

extension IptablesRule {
  /// From a rule of `iptables-nft`.
  public init(_ rule: NftRule, _ family: AddressFamily) {
    self.init()
    handle = rule.handle
    comment = rule.comment
    form = rule.encodedForm
    isPlain = rule.expressions.allSatisfy(Self.isPlain)
    var loaded: [NftRegister: NftExpression] = [:]
    var masks: [NftRegister: [UInt8]] = [:]
    for e in rule.expressions {
      switch e {
      case .meta(_, let r), .payload(_, _, _, let r), .immediate(let r, _):
        loaded[r] = e
        masks[r] = nil
      case .bitwise(let r, _, let mask, _): masks[r] = mask
      case .compare(let how, let r, let bytes):
        compare(loaded[r], how == .equal, bytes, masks[r], family)
      case .compatibility(let isTarget, let name, let revision, let info):
        if isTarget { target(name, revision: revision, info, family) } else { match(name, info) }
      case .verdict(let v): jump = v.target ?? (v == .accept ? "ACCEPT" : v == .return ? "RETURN" : "DROP")
      case .masquerade: jump = "MASQUERADE"
      case .nat(let nat) where nat.kind == .destination:
        jump = "DNAT"
        if let r = nat.address, case .immediate(_, let bytes) = loaded[r] { translated = IPAddress(bytes: bytes) }
      default: break
      }
    }
  }

  private static func isPlain(_ e: NftExpression) -> Bool {
    switch e {
    case .verdict(.goto): false
    case .counter, .verdict: true
    case .compatibility(let isTarget, let name, _, _): isTarget || name == "comment"
    default: false
    }
  }

  private mutating func compare(
    _ what: NftExpression?, _ isEqual: Bool, _ bytes: [UInt8], _ mask: [UInt8]?, _ family: AddressFamily
  ) {
    let start: UInt32 = family == .ipv4 ? 12 : 8
    let width = UInt32(family.byteCount)
    switch what {
    case .meta(.transportProtocol, _) where isEqual, .payload(.network, family == .ipv4 ? 9 : 6, 1, _) where isEqual:
      transport = bytes.first ?? 0
    case .payload(.transport, 2, 2, _) where isEqual: port = bytes.reduce(0) { $0 << 8 | UInt16($1) }
    case .payload(.network, start, _, _) where isEqual: source = Self.prefix(bytes, mask, family)
    case .payload(.network, start + width, _, _):
      destination = Self.prefix(bytes, mask, family)
      isInverted = !isEqual
    default: break
    }
  }

  /// The first bytes of an address, as many as the prefix needs, or all with a mask.
  private static func prefix(_ bytes: [UInt8], _ mask: [UInt8]?, _ family: AddressFamily) -> IPPrefix? {
    let length = mask?.reduce(0) { $0 + $1.nonzeroBitCount } ?? bytes.count * 8
    let padding = [UInt8](repeating: 0, count: max(0, family.byteCount - bytes.count))
    return IPAddress(bytes: bytes + padding).flatMap { IPPrefix($0, length: length) }
  }
}
