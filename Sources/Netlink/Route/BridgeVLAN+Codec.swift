import CLinux
import NetTypes

extension BridgeVLAN {
  /// The VLANs in an `AF_BRIDGE` link message: `IFLA_AF_SPEC` with single entries and begin/end pairs.
  static func decode(_ message: borrowing Message) -> [BridgeVLAN] {
    var out: [BridgeVLAN] = []
    var begin: UInt16?
    var attributes = message.attributes(after: MemoryLayout<ifinfomsg>.size)
    while let a = attributes.next() {
      guard a.type == LinkAttribute.familyInfo else { continue }
      var entries = a.nested()
      while let entry = entries.next() {
        guard entry.type == BridgeVLANAttribute.info,
          let info = entry.payload.load(as: bridge_vlan_info.self)
        else { continue }
        if info.flags & BridgeVLANAttribute.rangeBegin != 0 {
          begin = info.vid
          continue
        }
        let first = info.flags & BridgeVLANAttribute.rangeEnd != 0 ? begin ?? info.vid : info.vid
        begin = nil
        guard first <= info.vid else { continue }
        out.append(
          BridgeVLAN(
            ids: first...info.vid, isPVID: info.flags & BridgeVLANAttribute.pvid != 0,
            isUntagged: info.flags & BridgeVLANAttribute.untagged != 0))
      }
    }
    return out
  }

  /// One `IFLA_BRIDGE_VLAN_INFO`, or two for a range.
  func encode(into writer: inout MessageWriter) {
    let flags =
      (isPVID ? BridgeVLANAttribute.pvid : 0) | (isUntagged ? BridgeVLANAttribute.untagged : 0)
    if ids.count == 1 { return writer.vlan(flags, ids.lowerBound) }
    writer.vlan(flags | BridgeVLANAttribute.rangeBegin, ids.lowerBound)
    writer.vlan(flags | BridgeVLANAttribute.rangeEnd, ids.upperBound)
  }
}

extension MessageWriter {
  fileprivate mutating func vlan(_ flags: UInt16, _ id: UInt16) {
    structure(BridgeVLANAttribute.info, bridge_vlan_info(flags: flags, vid: id))
  }
}
