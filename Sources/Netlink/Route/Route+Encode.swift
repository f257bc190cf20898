import CLinux
import NetTypes

extension Route {
  /// `RT_SCOPE_NOWHERE`: any scope, in a request to remove.
  private static let anyScope: UInt8 = 255

  /// The body of a request that adds or replaces this route.
  @inline(__always)
  func encode(into writer: inout MessageWriter) {
    writeHeader(&writer, scope: scope)
    // The kernel knows the default of the family by itself: 0, and 1024 for IPv6.
    if metric != (destination.family == .ipv6 ? 1024 : 0) { writer.attribute(RouteAttribute.priority, metric) }
    writeHop(&writer)
    if let source { writer.attribute(RouteAttribute.preferredSource, source) }
    if mtu != 0 {
      writer.nested(RouteAttribute.metrics) { $0.attribute(RouteAttribute.mtu, mtu) }
    }
  }

  /// The body of a request that removes this route: what identifies it, not what it carries.
  func encodeRemoval(into writer: inout MessageWriter) {
    writeHeader(&writer, scope: destination.family == .ipv4 ? Self.anyScope : scope)
    // Left out, it would stand for any metric.
    if metric != 0 { writer.attribute(RouteAttribute.priority, metric) }
    if extraHops == 0 { writeHop(&writer) }
  }

  @inline(__always)
  private func writeHeader(_ writer: inout MessageWriter, scope: UInt8) {
    writer.header(
      rtmsg(
        rtm_family: destination.family.number, rtm_dst_len: UInt8(truncatingIfNeeded: destination.length),
        rtm_src_len: 0, rtm_tos: 0, rtm_table: table < 256 ? UInt8(truncatingIfNeeded: table) : 0,
        rtm_protocol: origin, rtm_scope: scope, rtm_type: kind.number,
        rtm_flags: isOnlink && nexthop == 0 ? RouteFlag.onlink : 0))
    if destination.length > 0 { writer.attribute(RouteAttribute.destination, destination.base) }
    if table >= 256 { writer.attribute(RouteAttribute.table, table) }
  }

  /// Where packets go: a next-hop object, or gateway and device.
  @inline(__always)
  private func writeHop(_ writer: inout MessageWriter) {
    if nexthop != 0 { return writer.attribute(RouteAttribute.nexthop, nexthop) }
    if let gateway {
      if gateway.family == destination.family {
        writer.attribute(RouteAttribute.gateway, gateway)
      } else {
        writer.via(RouteAttribute.via, gateway)
      }
    }
    if device != 0 { writer.attribute(RouteAttribute.device, device) }
  }
}
