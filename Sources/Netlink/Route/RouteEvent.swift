import CLinux
import NetTypes

/// A change of the kernel's state.
public enum RouteEvent: Sendable, Equatable {
  /// A link appeared, changed or went. What a bridge says about a port's options has no `kind`.
  case link(Link, removed: Bool)
  case address(InterfaceAddress, removed: Bool)
  case neighbour(Neighbour, removed: Bool)
  /// An entry of a device's own forwarding database; what bridges learn is left out.
  case fdb(FDBEntry, removed: Bool)
  case route(Route, removed: Bool)
  case nexthop(Nexthop, removed: Bool)
  /// Events were lost: everything must be read again.
  case overflow

  /// nil for messages that say nothing about these objects.
  @inline(__always)
  init?(_ message: borrowing Message) {
    switch message.type {
    case RouteMessage.newNeighbour, RouteMessage.deleteNeighbour:
      let removed = message.type == RouteMessage.deleteNeighbour
      if message.header(as: UInt8.self) == FamilyNumber.bridge {
        guard let entry = FDBEntry(message) else { return nil }
        self = .fdb(entry, removed: removed)
      } else {
        guard let neighbour = Neighbour(message) else { return nil }
        self = .neighbour(neighbour, removed: removed)
      }
    case RouteMessage.newRoute, RouteMessage.deleteRoute:
      guard let route = Route(message) else { return nil }
      self = .route(route, removed: message.type == RouteMessage.deleteRoute)
    case RouteMessage.newNexthop, RouteMessage.deleteNexthop:
      guard let nexthop = Nexthop(message) else { return nil }
      self = .nexthop(nexthop, removed: message.type == RouteMessage.deleteNexthop)
    case RouteMessage.newAddress, RouteMessage.deleteAddress:
      guard let address = InterfaceAddress(message) else { return nil }
      self = .address(address, removed: message.type == RouteMessage.deleteAddress)
    case RouteMessage.newLink, RouteMessage.deleteLink:
      let removed = message.type == RouteMessage.deleteLink
      guard let link = Link(message), let family = message.header(as: UInt8.self) else { return nil }
      // A port that leaves its bridge is "deleted" in the bridge's view; the link itself reports the change, too.
      if family == FamilyNumber.any || family == FamilyNumber.bridge && !removed {
        self = .link(link, removed: removed)
      } else {
        return nil
      }
    default: return nil
    }
  }
}
