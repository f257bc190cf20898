import NetTypes
import Netlink
import Syscalls

/// The `loopback` plugin: brings `lo` of the container up (contract cni §B4). `CNI_IFNAME` is not looked at.
public struct LoopbackPlugin: CNIPlugin {
  /// As in `type` of a configuration.
  public static let name = "loopback"

  /// The plugin has no state.
  public init() {}

  /// Reports the first address of each family on `lo`, or passes the previous result on.
  public func add(_ request: CNIRequest) throws -> CNIResult {
    let previous = try request.previousResult()
    var pod = try socket(request.netns)
    let link = try loopback(&pod)
    try set(&pod, link, up: true)
    let addresses = try doing("failed to read the addresses of \"lo\"") { () throws(NetlinkError) in
      try pod.addresses(device: link.index)
    }
    if let foreign = addresses.first(where: { !$0.prefix.address.isLoopback }) {
      if !link.isUp { try set(&pod, link, up: false) }
      throw CNIError.plain("loopback interface found with non-loopback address \"\(foreign.prefix.address)\"")
    }
    let own = AddressFamily.allCases.compactMap { family in addresses.first { $0.prefix.family == family } }
    if let previous { return previous }
    return CNIResult(
      interfaces: [CNIResult.Interface(name: "lo", mac: "00:00:00:00:00:00", sandbox: request.netns)],
      ips: own.map { CNIResult.IP(address: $0.prefix, interface: 0) })
  }

  /// `lo` goes down; a namespace that is gone is fine.
  public func del(_ request: CNIRequest) throws {
    guard !request.netns.isEmpty, Files.exists(request.netns) else { return }
    var pod = try socket(request.netns)
    try set(&pod, try loopback(&pod), up: false)
  }

  /// `loopback interface is down`
  public func check(_ request: CNIRequest) throws {
    var pod = try socket(request.netns)
    guard try loopback(&pod).isUp else { throw CNIError.plain("loopback interface is down") }
  }

  /// A socket in the container's namespace.
  private func socket(_ path: String) throws(CNIError) -> RouteSocket {
    let container = try NetworkNamespace.open(path)
    return try container.visit(from: try .home()) { () throws(CNIError) in try RouteSocket.ofThread() }
  }

  private func loopback(_ pod: inout RouteSocket) throws(CNIError) -> Link {
    guard let link = try doing("failed to find \"lo\"", { () throws(NetlinkError) in try pod.link(named: "lo") }) else {
      throw .plain("failed to find \"lo\": the namespace has no such device")
    }
    return link
  }

  private func set(_ pod: inout RouteSocket, _ link: Link, up: Bool) throws(CNIError) {
    var batch = RouteBatch()
    batch.setLink(index: link.index, up: up)
    let what = "failed to set \"lo\" \(up ? "up" : "down")"
    if let f = try doing(what, { () throws(NetlinkError) in try pod.send(batch) }).first { throw CNIError(what, f) }
  }
}
