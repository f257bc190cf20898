import NetTypes
import Netlink
import Syscalls

/// Lets connections from 127.0.0.1 go to a container: the kernel drops them at the interface otherwise. The switch stays on
/// after DEL, since other containers behind the same bridge may use it (contract cni §C 21).
enum LocalRouting {
  static func enable(to address: IPAddress) throws(CNIError) {
    let what = "unable to enable route_localnet"
    var socket = try RouteSocket.ofThread()
    let link = try doing(what) { () throws(NetlinkError) -> Link? in
      guard let route = try socket.route(to: address) else { return nil }
      return try socket.link(index: route.device)
    }
    guard let link else { throw .plain("\(what): there is no route to the container's address \(address)", .ioFailure) }
    do throws(SystemError) {
      try Sysctl.ensure("net/ipv4/conf/\(link.name)/route_localnet", "1")
    } catch {
      throw .plain("\(what): \(error)", .ioFailure)
    }
  }
}
