public import NetTypes

/// A transport protocol that has ports.
public enum PortProtocol: UInt8, Hashable, Sendable, CaseIterable {
  case tcp = 6
  case udp = 17
  case sctp = 132

  /// As iptables, nft and Kubernetes (in capitals) write it.
  public var name: String {
    switch self {
    case .tcp: "tcp"
    case .udp: "udp"
    case .sctp: "sctp"
    }
  }

  /// From its name in any case; nil for others.
  public init?(name: String) {
    guard let found = Self.allCases.first(where: { $0.name == name.lowercased() }) else { return nil }
    self = found
  }
}

/// One thing a rule looks at. Whatever is not said matches.
public enum Match: Hashable, Sendable {
  /// The source address lies in the prefix, or does not.
  case source(IPPrefix, inverted: Bool = false)
  /// The destination address lies in the prefix, or does not.
  case destination(IPPrefix, inverted: Bool = false)
  /// `mark & mask == value`, or not.
  case mark(UInt32, mask: UInt32, inverted: Bool = false)
  /// A packet of the protocol.
  case transport(PortProtocol)
  /// A packet of the protocol to the port.
  case destinationPort(PortProtocol, UInt16)
  /// A packet of the protocol to one of the ports; iptables allows fifteen.
  case destinationPorts(PortProtocol, [UInt16])
  /// The destination is an address of this host.
  case localDestination
  case inputInterface(String, inverted: Bool = false)
  case outputInterface(String, inverted: Bool = false)
  /// Link layer source address.
  case sourceMAC(MACAddress)
}

/// What a rule does with the packets that match.
public enum Action: Hashable, Sendable {
  case accept
  case drop
  /// Back to the chain before.
  case `return`
  case jump(String)
  case goto(String)
  /// The source becomes an address of the interface that the packet leaves by.
  case masquerade(fullyRandom: Bool)
  /// The destination becomes this one.
  case dnat(IPAddress, port: UInt16)
  /// `mark = mark & ~mask | value`
  case setMark(UInt32, mask: UInt32)
}

/// A rule, independent of the tool that programs it: what `Nftables` and `Iptables` render.
public struct Rule: Hashable, Sendable {
  /// All must match. Their order is that of the printed rule.
  public var matches: [Match]
  /// What happens then.
  public var action: Action
  /// Printed with the rule; nil = none.
  public var comment: String?
  /// The comment is printed before the matches, as some programs do it; iptables only.
  public var commentFirst: Bool

  /// Every field as given.
  public init(_ matches: [Match] = [], _ action: Action, comment: String? = nil, commentFirst: Bool = false) {
    self.matches = matches
    self.action = action
    self.comment = comment
    self.commentFirst = commentFirst
  }
}
