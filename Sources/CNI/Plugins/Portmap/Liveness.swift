import NetTypes
import Netlink
import Syscalls

/// Whether containers are there, asked the way a packet would find out: by their link layer address. A rule to an
/// address that nobody answers for is left over.
enum Liveness {
  /// How long an answer may take. A container on this machine answers from within the kernel, in microseconds.
  private static let patience: Int64 = 1_000_000_000

  /// Those of the addresses that no neighbour of this host has.
  static func unreachable(_ addresses: Set<IPAddress>) throws(CNIError) -> Set<IPAddress> {
    var socket = try RouteSocket.ofThread()
    return try doing("failed to look for containers") { () throws(NetlinkError) in
      var gone = addresses
      var waiting: Set<Neighbour.ID> = []
      var batch = RouteBatch()
      for a in addresses {
        guard let route = try socket.route(to: a), route.gateway == nil else { continue }
        let id = Neighbour(device: route.device, address: a, mac: nil).id
        let known = try socket.neighbours(a.family, device: route.device).first { $0.id == id }
        // What the kernel learnt may be from before: it is forgotten and asked for again.
        if route.kind == .local || known.map({ $0.isUsable && !$0.isLearnt }) ?? false {
          gone.remove(a)
          continue
        }
        if let known { batch.remove(known) }
        batch.resolve(a, device: route.device)
        waiting.insert(id)
      }
      guard !waiting.isEmpty else { return gone }
      // An interface that just went away refuses: nobody answers there.
      _ = try socket.send(batch)
      var wait = Backoff(limit: patience)
      while true {
        for family in AddressFamily.allCases where waiting.contains(where: { $0.address.family == family }) {
          for n in try socket.neighbours(family, device: 0) where n.isUsable && waiting.contains(n.id) {
            waiting.remove(n.id)
            gone.remove(n.address)
          }
        }
        guard !waiting.isEmpty, wait.next() else { return gone }
      }
    }
  }
}
