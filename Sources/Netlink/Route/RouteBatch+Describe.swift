import CLinux
import NetTypes

extension RouteBatch {
  /// Operation and object of the request at `index`, read back from its bytes: labels cost nothing until needed.
  func describe(_ index: Int) -> (operation: String, object: String) {
    var reader = MessageReader(writer.buffer.bytes)
    var i = 0
    while let message = reader.next() {
      if i == index { return Self.describe(message) }
      i += 1
    }
    return ("request \(index)", "")
  }

  private static func describe(_ message: borrowing Message) -> (operation: String, object: String) {
    let isLink = [RouteMessage.newLink, RouteMessage.setLink, RouteMessage.deleteLink].contains(message.type)
    if isLink, let link = Link(message) { return describe(message, link) }
    guard let event = RouteEvent(message) else { return ("request of type \(message.type)", "") }
    switch event {
    case .link(let link, _): return describe(message, link)
    case .address(let a, let removed): return (verb(removed) + " address", "\(a.prefix) on interface \(a.device)")
    case .neighbour(let n, let removed): return (verb(removed) + " neighbour", "\(n.address) on interface \(n.device)")
    case .fdb(let e, let removed):
      let remote = e.remote.map { " dst \($0)" } ?? ""
      return (verb(removed) + " FDB entry", "\(e.mac)\(remote) on interface \(e.device)")
    case .route(let r, let removed):
      let gateway = r.gateway.map { " via \($0)" } ?? ""
      let object = r.nexthop == 0 ? "" : " nhid \(r.nexthop)"
      let device = r.device == 0 ? "" : " on interface \(r.device)"
      let table = r.table == 254 ? "" : " table \(r.table)"
      return (verb(removed) + " route", "\(r.destination)\(gateway)\(object)\(device)\(table)")
    case .nexthop(let n, let removed): return (verb(removed) + " next hop", "\(n.id)")
    case .overflow: return ("request", "")
    }
  }

  private static func describe(_ message: borrowing Message, _ link: Link) -> (operation: String, object: String) {
    if message.header(as: ifinfomsg.self)?.ifi_family == FamilyNumber.bridge {
      if link.port != nil { return ("set bridge port options of", "interface \(link.index)") }
      return ((message.type == RouteMessage.deleteLink ? "remove" : "add") + " VLANs of", "interface \(link.index)")
    }
    if message.type == RouteMessage.deleteLink { return ("delete link", "\(link.index)") }
    if message.flags & MessageFlags.create != 0 { return ("create link", link.name) }
    return ("set link", "\(link.index)")
  }

  private static func verb(_ removed: Bool) -> String { removed ? "remove" : "set" }
}
