import NetTypes
public import Netlink

extension Rule {
  /// The rule as `nft` would load it into a table of the family: the same expressions in the same order, so that
  /// `nft list ruleset` prints what a person would have written. Several ports become a rule each.
  public func nftables(_ table: NftTable.ID, _ chain: String) -> [NftRule] {
    variants.map { rule in
      var out = NftExpressions(family: table.family)
      for match in rule.matches { out.add(match) }
      out.add(rule.action)
      return NftRule(table, chain, out.list, comment: rule.comment)
    }
  }

  /// The same rule with one port each, where a match names several.
  private var variants: [Rule] {
    for (i, match) in matches.enumerated() {
      guard case .destinationPorts(let p, let ports) = match else { continue }
      return ports.flatMap { port in
        var r = self
        r.matches[i] = .destinationPort(p, port)
        return r.variants
      }
    }
    return [self]
  }
}

/// Writes the expressions of one rule. `nft` puts the test of what a match depends on (is it IPv4? is it TCP?) before
/// the match, once, where the table's family does not say so already.
struct NftExpressions {
  let family: NftFamily
  private(set) var list: [NftExpression] = []
  private var network: UInt8?
  private var transport: UInt8?

  init(family: NftFamily) { self.family = family }

  mutating func add(_ match: Match) {
    switch match {
    case .source(let prefix, let inverted): add(prefix, inverted, offset: prefix.family == .ipv4 ? 12 : 8)
    case .destination(let prefix, let inverted): add(prefix, inverted, offset: prefix.family == .ipv4 ? 16 : 24)
    case .mark(let value, let mask, let inverted):
      list.append(.meta(.mark, .r1))
      if mask != .max {
        list.append(.bitwise(from: .r1, to: .r1, mask: mask.hostBytes, xor: [0, 0, 0, 0]))
      }
      list.append(.compare(inverted ? .notEqual : .equal, .r1, value.hostBytes))
    case .transport(let p): require(transport: p.rawValue)
    case .destinationPort(let p, let port):
      require(transport: p.rawValue)
      list.append(.payload(.transport, offset: 2, length: 2, .r1))
      list.append(.compare(.equal, .r1, port.networkBytes))
    case .destinationPorts: break  // one rule for each port, see `variants`
    case .localDestination:
      list.append(.fib(.addressType, flags: 2, .r1))
      // RTN_LOCAL
      list.append(.compare(.equal, .r1, UInt32(2).hostBytes))
    case .inputInterface(let name, let inverted): add(.inputName, name, inverted)
    case .outputInterface(let name, let inverted): add(.outputName, name, inverted)
    case .sourceMAC(let mac):
      if family != .bridge {
        // ARPHRD_ETHER
        list.append(.meta(.inputType, .r1))
        list.append(.compare(.equal, .r1, UInt16(1).hostBytes))
      }
      list.append(.payload(.link, offset: 6, length: 6, .r1))
      list.append(.compare(.equal, .r1, mac.bytes))
    }
  }

  private mutating func add(_ prefix: IPPrefix, _ inverted: Bool, offset: UInt32) {
    require(prefix.family)
    let width = prefix.family.byteCount
    let bytes = prefix.base.bytes
    let whole = prefix.length / 8
    let comparison: NftExpression.Comparison = inverted ? .notEqual : .equal
    // Whole bytes are compared where they are; otherwise the rest is masked away.
    if prefix.length % 8 == 0, whole > 0 {
      list.append(.payload(.network, offset: offset, length: UInt32(whole), .r1))
      list.append(.compare(comparison, .r1, Array(bytes.prefix(whole))))
    } else {
      list.append(.payload(.network, offset: offset, length: UInt32(width), .r1))
      let mask = (0..<width).map { i in UInt8(truncatingIfNeeded: 0xff00 >> min(max(prefix.length - i * 8, 0), 8)) }
      list.append(.bitwise(from: .r1, to: .r1, mask: mask, xor: [UInt8](repeating: 0, count: width)))
      list.append(.compare(comparison, .r1, bytes))
    }
  }

  private mutating func add(_ key: NftExpression.Meta, _ name: String, _ inverted: Bool) {
    list.append(.meta(key, .r1))
    var bytes = Array(name.utf8.prefix(15))
    bytes += [UInt8](repeating: 0, count: 16 - bytes.count)
    list.append(.compare(inverted ? .notEqual : .equal, .r1, bytes))
  }

  /// Tables of both families test which one the packet has.
  private mutating func require(_ f: AddressFamily) {
    guard family == .inet || family == .bridge, network != f.number else { return }
    network = f.number
    if family == .inet {
      list.append(.meta(.networkProtocol, .r1))
      list.append(.compare(.equal, .r1, [f.number]))
    } else {
      list.append(.meta(.protocolNumber, .r1))
      list.append(.compare(.equal, .r1, (f == .ipv4 ? UInt16(0x0800) : 0x86dd).networkBytes))
    }
  }

  private mutating func require(transport p: UInt8) {
    guard transport != p else { return }
    transport = p
    list.append(.meta(.transportProtocol, .r1))
    list.append(.compare(.equal, .r1, [p]))
  }

  mutating func add(_ action: Action) {
    switch action {
    case .accept: list.append(.verdict(.accept))
    case .drop: list.append(.verdict(.drop))
    case .return: list.append(.verdict(.return))
    case .jump(let chain): list.append(.verdict(.jump(chain)))
    case .goto(let chain): list.append(.verdict(.goto(chain)))
    case .masquerade(let fullyRandom): list.append(.masquerade(fullyRandom ? .fullyRandom : []))
    case .dnat(let address, let port):
      list.append(.immediate(.r1, address.bytes))
      list.append(.immediate(.r2, port.networkBytes))
      list.append(
        .nat(NftExpression.NAT(.destination, family: UInt32(address.family.number), address: .r1, port: .r2)))
    case .setMark(let value, let mask):
      list.append(.meta(.mark, .r1))
      list.append(.bitwise(from: .r1, to: .r1, mask: (~(mask | value)).hostBytes, xor: value.hostBytes))
      list.append(.setMeta(.mark, .r1))
    }
  }
}

extension FixedWidthInteger {
  /// In the machine's order.
  var hostBytes: [UInt8] {
    let little = littleEndian
    return (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: little >> Self(truncatingIfNeeded: $0 * 8)) }
  }
  /// In network order.
  var networkBytes: [UInt8] {
    (0..<Self.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: self >> Self(truncatingIfNeeded: $0 * 8)) }
  }
}
