import CLinux
import NetTypes
import Syscalls

/// Records requests that change the kernel's state, already encoded. Their order is kept. Nothing happens before the
/// batch is sent on a `RouteSocket`.
public struct RouteBatch: ~Copyable, Sendable {
  /// A request of a batch that the kernel refused.
  public struct Failure: Error, Hashable, Sendable {
    /// Position of the request in the batch, from 0.
    public var index: Int
    /// The kernel's answer.
    public var errno: Errno
    /// The kernel's own explanation, when it gave one.
    public var message: String?

    /// Every field as given.
    public init(index: Int, errno: Errno, message: String? = nil) {
      self.index = index
      self.errno = errno
      self.message = message
    }
  }

  /// The encoded requests; the request at index n has sequence number n + 1.
  var writer = MessageWriter(capacity: 512)

  /// An empty batch.
  public init() {}

  /// Number of requests.
  public var count: Int { writer.count }
  /// True when there is nothing to send.
  public var isEmpty: Bool { writer.count == 0 }

  /// Forgets all requests and keeps the memory.
  public mutating func clear() { writer.clear() }

  @inline(__always)
  mutating func add(_ type: UInt16, _ flags: UInt16 = 0, _ body: (inout MessageWriter) -> Void) {
    writer.message(type, flags, sequence: UInt32(truncatingIfNeeded: writer.count &+ 1), body)
  }

  /// What the request at `index` does, e.g. `create link flannel.1`; for messages to people.
  public func label(of index: Int) -> String {
    let (operation, object) = describe(index)
    return object.isEmpty ? operation : "\(operation) \(object)"
  }

  /// A failure as an error that names the request.
  public func error(_ failure: Failure) -> NetlinkError {
    let (operation, object) = describe(failure.index)
    return NetlinkError(operation: operation, object: object, errno: failure.errno, message: failure.message)
  }
}

// MARK: Addresses, neighbours, FDB

extension RouteBatch {
  static let addOrReplace = MessageFlags.create | MessageFlags.replace

  /// Adds or updates an interface address.
  /// - Parameter noDAD: no duplicate address detection (IPv6), so that it can be used at once.
  public mutating func set(_ a: InterfaceAddress, noDAD: Bool = false) {
    add(RouteMessage.newAddress, Self.addOrReplace) { a.encode(into: &$0, noDAD: noDAD) }
  }

  /// Removes an interface address.
  public mutating func remove(_ a: InterfaceAddress) {
    add(RouteMessage.deleteAddress) { a.encode(into: &$0, noDAD: false) }
  }

  /// Adds or replaces a neighbour entry.
  public mutating func set(_ n: Neighbour) {
    add(RouteMessage.newNeighbour, Self.addOrReplace) { n.encode(into: &$0) }
  }

  /// Removes a neighbour entry.
  public mutating func remove(_ n: Neighbour) {
    add(RouteMessage.deleteNeighbour) { n.encode(into: &$0) }
  }

  /// Finds a neighbour's link-layer address out, as if there were a packet for it.
  public mutating func resolve(_ address: IPAddress, device: Int32) {
    add(RouteMessage.newNeighbour, MessageFlags.create) {
      $0.header(
        neighbourHeader(family: address.family.number, device: device, flags: NeighbourAttribute.useFlag))
      $0.attribute(NeighbourAttribute.destination, address)
    }
  }

  /// Adds a forwarding database entry; the remote of a unicast MAC is replaced, one of a group or of the all-zero
  /// address is added to those that are there.
  public mutating func set(_ e: FDBEntry) {
    let how = e.isReplaceable ? MessageFlags.replace : MessageFlags.append
    add(RouteMessage.newNeighbour, MessageFlags.create | how) { e.encode(into: &$0) }
  }

  /// Removes a forwarding database entry.
  public mutating func remove(_ e: FDBEntry) {
    add(RouteMessage.deleteNeighbour) { e.encode(into: &$0) }
  }
}

// MARK: Next hops and routes

extension RouteBatch {
  /// Adds or replaces a next-hop object.
  public mutating func set(_ n: Nexthop) {
    add(RouteMessage.newNexthop, Self.addOrReplace) { n.encode(into: &$0) }
  }

  /// Removes a next-hop object; the kernel removes the routes that use it.
  public mutating func removeNexthop(id: UInt32) {
    add(RouteMessage.deleteNexthop) {
      $0.header(nhmsg())
      $0.attribute(NexthopAttribute.id, id)
    }
  }

  /// Adds a route, in the place of one with the same table, destination and metric.
  public mutating func set(_ r: Route) {
    add(RouteMessage.newRoute, Self.addOrReplace) { r.encode(into: &$0) }
  }

  /// Adds a route behind those with the same key.
  public mutating func append(_ r: Route) {
    add(RouteMessage.newRoute, MessageFlags.create | MessageFlags.append) { r.encode(into: &$0) }
  }

  /// Removes a route. Table, destination, metric, type, origin, gateway and device must agree.
  public mutating func remove(_ r: Route) {
    add(RouteMessage.deleteRoute) { r.encodeRemoval(into: &$0) }
  }
}
