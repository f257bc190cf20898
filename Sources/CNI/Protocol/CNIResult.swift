import JSON
import NetTypes

/// What ADD has made, in the newest form; other versions exist only as text (contract cni §A2).
public struct CNIResult: Hashable, Sendable {
  /// A network interface, on the host (no `sandbox`) or in the container.
  public struct Interface: Hashable, Sendable {
    /// The name inside its namespace.
    public var name: String
    /// As printed by the kernel; empty when not known.
    public var mac: String
    /// Bytes; 0 when not known. From 1.1.0.
    public var mtu: Int
    /// The path of the namespace it is in; empty for the host.
    public var sandbox: String
    /// Path of the socket of a device in user space; empty when there is none. From 1.1.0.
    public var socketPath: String
    /// PCI address of the device, such as `0000:00:1f.6`; empty when it has none. From 1.1.0.
    public var pciID: String

    /// With a name alone: an interface of the host of which nothing more is known.
    public init(
      name: String, mac: String = "", mtu: Int = 0, sandbox: String = "", socketPath: String = "", pciID: String = ""
    ) {
      self.name = name
      self.mac = mac
      self.mtu = mtu
      self.sandbox = sandbox
      self.socketPath = socketPath
      self.pciID = pciID
    }
  }

  /// An address given to the container.
  public struct IP: Hashable, Sendable {
    /// Index into `interfaces`.
    public var interface: Int?
    /// The address with the subnet's length; host bits are kept.
    public var address: IPPrefix
    /// The router of the address's subnet; nil when there is none.
    public var gateway: IPAddress?

    /// Without `interface`, the address belongs to no interface of the result.
    public init(address: IPPrefix, gateway: IPAddress? = nil, interface: Int? = nil) {
      self.interface = interface
      self.address = address
      self.gateway = gateway
    }
  }

  /// A route to be set in the container.
  public struct Route: Hashable, Sendable {
    /// Destination; `0.0.0.0/0` or `::/0` for a default route.
    public var dst: IPPrefix
    /// Next hop; nil = the gateway of an address of the same family.
    public var gw: IPAddress?
    /// Bytes; 0 = not set. From 1.1.0.
    public var mtu: Int
    /// TCP segment size to advertise, bytes; 0 = not set. From 1.1.0.
    public var advmss: Int
    /// The kernel's metric, lower ones win; 0 = not set. From 1.1.0.
    public var priority: Int
    /// Routing table; nil = main. From 1.1.0.
    public var table: Int?
    /// `RT_SCOPE_*`: 0 global, 253 link, 254 host; nil = not set. From 1.1.0.
    public var scope: Int?

    /// Everything but the destination is left to the plugin that sets the route.
    public init(
      dst: IPPrefix, gw: IPAddress? = nil, mtu: Int = 0, advmss: Int = 0, priority: Int = 0, table: Int? = nil,
      scope: Int? = nil
    ) {
      self.dst = dst
      self.gw = gw
      self.mtu = mtu
      self.advmss = advmss
      self.priority = priority
      self.table = table
      self.scope = scope
    }
  }

  /// Resolver settings.
  public struct DNS: Hashable, Sendable {
    /// Addresses of name servers, the preferred one first; texts that are not checked.
    public var nameservers: [String] = []
    /// The local domain; empty for none.
    public var domain = ""
    /// Domains to be tried with short names, in this order.
    public var search: [String] = []
    /// Resolver options as in resolv.conf(5), such as `ndots:5`.
    public var options: [String] = []

    /// Every setting may be left out.
    public init(nameservers: [String] = [], domain: String = "", search: [String] = [], options: [String] = []) {
      self.nameservers = nameservers
      self.domain = domain
      self.search = search
      self.options = options
    }

    /// True when nothing is set; from 1.0.0 on the result then has no `dns`.
    public var isEmpty: Bool { nameservers.isEmpty && domain.isEmpty && search.isEmpty && options.isEmpty }
  }

  /// The interfaces made or changed; `IP.interface` counts from 0 here.
  public var interfaces: [Interface]
  /// The container's addresses.
  public var ips: [IP]
  /// Routes for the container, beside those that follow from its addresses.
  public var routes: [Route]
  /// Resolver settings; the plugins only report them, the runtime applies them.
  public var dns: DNS

  /// An empty result unless something is given: the answer of a plugin that has made nothing.
  public init(interfaces: [Interface] = [], ips: [IP] = [], routes: [Route] = [], dns: DNS = DNS()) {
    self.interfaces = interfaces
    self.ips = ips
    self.routes = routes
    self.dns = dns
  }

  /// What is left after printing in `version` and reading that again. A delegate that is called as a function answers
  /// with this, so that it cannot be told from one that was executed.
  public func reduced(to version: CNIVersion) throws(CNIError) -> CNIResult {
    if version >= .v1_0_0 { return self }
    var r = self
    if version >= .v0_3_0 {
      for i in r.interfaces.indices {
        r.interfaces[i].mtu = 0
        r.interfaces[i].socketPath = ""
        r.interfaces[i].pciID = ""
      }
      return r
    }
    r.interfaces = []
    r.ips = AddressFamily.allCases.compactMap { family in
      ips.first { $0.address.family == family }.map { IP(address: $0.address, gateway: $0.gateway) }
    }
    guard !r.ips.isEmpty else { throw .plain("cannot convert: no valid IP addresses") }
    r.routes = r.ips.flatMap { ip in
      routes.filter { $0.dst.family == ip.address.family }.map { Route(dst: $0.dst, gw: $0.gw) }
    }
    return r
  }
}
