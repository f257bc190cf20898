public import NetTypes
import Subnets

/// The interface that carries the traffic between nodes (contract flanneld §5).
public struct ExternalInterface: Hashable, Sendable {
  /// Name at the time of the choice.
  public var name: String
  /// Interface index at the time of the choice; it changes when the interface is created again.
  public var index: Int32
  /// Bytes.
  public var mtu: UInt32
  /// The interface's own address per enabled family: the source of encapsulated packets.
  public var address: PerFamily<IPAddress>
  /// The address other nodes use to reach this one, per enabled family.
  public var publicAddress: PerFamily<IPAddress>

  /// Takes the values as they are; the choice checks them.
  public init(
    name: String, index: Int32, mtu: UInt32, address: PerFamily<IPAddress>, publicAddress: PerFamily<IPAddress>
  ) {
    self.name = name
    self.index = index
    self.mtu = mtu
    self.address = address
    self.publicAddress = publicAddress
  }
}

/// What the host looks like, as far as the choice of the interface needs it.
public struct HostFacts: Sendable {
  /// All interfaces.
  public var links: [Link]
  /// All addresses, in the kernel's order.
  public var addresses: [InterfaceAddress]
  /// The routes of the main table, both families, in the kernel's order.
  public var routes: [Route]

  /// Takes the lists in the kernel's order; only the links are put in order, by index.
  public init(links: [Link], addresses: [InterfaceAddress], routes: [Route]) {
    self.links = links.sorted { $0.index < $1.index }
    self.addresses = addresses
    self.routes = routes
  }

  /// The interface that has the address, whatever the address's flags.
  func owner(of address: IPAddress) -> Link? {
    addresses.first { $0.prefix.address == address }.flatMap { link($0.device) }
  }

  func link(_ index: Int32) -> Link? { links.first { $0.index == index } }

  /// The addresses of a family a tunnel may use, best first: unicast and not deprecated; global before link-local,
  /// permanent before others, non-temporary before temporary, otherwise in the kernel's order (contract flanneld §5.3).
  func usableAddresses(of link: Link, _ family: AddressFamily) -> [IPAddress] {
    let usable = addresses.filter {
      let a = $0.prefix.address
      return $0.device == link.index && a.family == family && !$0.isDeprecated
        && (a.isGlobalUnicast || a.isLinkLocalUnicast)
    }
    func rank(_ a: InterfaceAddress) -> Int {
      (a.prefix.address.isLinkLocalUnicast ? 4 : 0) + (a.isPermanent ? 0 : 2) + (a.isTemporary ? 1 : 0)
    }
    return usable.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }
      .map(\.element.prefix.address)
  }
}

/// Why no interface could be used.
public struct InterfaceError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was looked for and why it cannot be used, for the operator.
  public let description: String
  init(_ description: String) { self.description = description }
}

/// What the operator asked for.
public struct InterfaceOptions: Hashable, Sendable {
  /// Names or addresses, tried in this order.
  public var interfaces: [String]
  /// Regular expressions, tried next.
  public var patterns: [String]
  /// Address whose route selects the interface; tried last. Empty = not given.
  public var canReach: String
  /// The published IPv4 address; empty = the interface's own.
  public var publicIP: String
  /// The published IPv6 address; empty = the interface's own.
  public var publicIPv6: String

  /// Without arguments: the interface of the default route, published with its own addresses.
  public init(
    interfaces: [String] = [], patterns: [String] = [], canReach: String = "", publicIP: String = "",
    publicIPv6: String = ""
  ) {
    self.interfaces = interfaces
    self.patterns = patterns
    self.canReach = canReach
    self.publicIP = publicIP
    self.publicIPv6 = publicIPv6
  }

  /// The part of the agent's options that concerns the interface.
  public init(_ options: AgentOptions) {
    self.init(
      interfaces: options.interfaces, patterns: options.interfacePatterns, canReach: options.interfaceCanReach,
      publicIP: options.publicIP, publicIPv6: options.publicIPv6)
  }

  /// The published addresses of the enabled families that are set.
  func publicAddresses(_ families: [AddressFamily]) throws(InterfaceError) -> PerFamily<IPAddress> {
    var out = PerFamily<IPAddress>()
    for family in families {
      let text = family == .ipv4 ? publicIP : publicIPv6
      if text.isEmpty { continue }
      guard let address = IPAddress(text), address.family == family else {
        throw InterfaceError("invalid public IP address: \(text)")
      }
      out[family] = address
    }
    return out
  }
}
