/// A `Node`: what leases are made from (contract flanneld §6).
public struct KubeNode: KubeObject {
  /// `nodes` of `core/v1`
  public static let resource = KubeResource(root: "/api/v1", plural: "nodes", kind: "Node", isNamespaced: false)

  private enum Slot {
    static let metadata: UInt8 = 8
    static let spec: UInt8 = 9
    static let podCIDR: UInt8 = 10
    static let podCIDRs: UInt8 = 11
    static let status: UInt8 = 12
    static let condition: UInt8 = 13
    static let conditionType: UInt8 = 14
    static let conditionStatus: UInt8 = 15
    static let conditionReason: UInt8 = 16
    static let conditionMessage: UInt8 = 17
    static let address: UInt8 = 18
    static let addressType: UInt8 = 19
    static let addressValue: UInt8 = 20
  }

  /// k8s.io/api `core/v1/generated.proto`
  public static let schema = MessageSchema([
    FieldSchema("metadata", 1, Slot.metadata, .message(KubeMetadata.schema)),
    FieldSchema(
      "spec", 2, Slot.spec,
      .message(
        MessageSchema([FieldSchema("podCIDR", 1, Slot.podCIDR), FieldSchema("podCIDRs", 7, Slot.podCIDRs)]))),
    FieldSchema(
      "status", 3, Slot.status,
      .message(
        MessageSchema([
          FieldSchema(
            "conditions", 4, Slot.condition,
            .message(
              MessageSchema([
                FieldSchema("type", 1, Slot.conditionType), FieldSchema("status", 2, Slot.conditionStatus),
                FieldSchema("reason", 5, Slot.conditionReason), FieldSchema("message", 6, Slot.conditionMessage),
              ]))),
          FieldSchema(
            "addresses", 5, Slot.address,
            .message(
              MessageSchema([FieldSchema("type", 1, Slot.addressType), FieldSchema("address", 2, Slot.addressValue)]))),
        ]))),
  ])

  /// Of the conditions `NetworkUnavailable`, of the addresses the internal ones.
  public static func keeps(_ slot: UInt8, _ nested: RecordReader) -> Bool {
    switch slot {
    case Slot.condition: nested.text(Slot.conditionType) == "NetworkUnavailable"
    case Slot.address: nested.text(Slot.addressType) == "InternalIP"
    default: true
    }
  }

  /// What was kept.
  public let record: ObjectRecord
  /// The node with this record.
  public init(_ record: ObjectRecord) { self.record = record }

  /// `spec.podCIDR`; empty while none is assigned.
  public var podCIDR: String { record.text(Slot.podCIDR) ?? "" }
  /// `spec.podCIDRs`
  public var podCIDRs: [String] { record.texts(Slot.podCIDRs) }
  /// The addresses of type `InternalIP`.
  public var internalIPs: [String] { record.texts(Slot.addressValue) }
  /// The condition `NetworkUnavailable`; nil when there is none.
  public var networkUnavailable: Condition? {
    record.nested(Slot.condition).first.map {
      Condition(
        status: $0.text(Slot.conditionStatus) ?? "", reason: $0.text(Slot.conditionReason) ?? "",
        message: $0.text(Slot.conditionMessage) ?? "")
    }
  }

  /// A condition without its times, which every heartbeat changes.
  public struct Condition: Hashable, Sendable {
    /// `True`, `False` or `Unknown`.
    public var status: String
    /// One word.
    public var reason: String
    /// For people.
    public var message: String

    /// A condition as one would set it.
    public init(status: String, reason: String, message: String) {
      self.status = status
      self.reason = reason
      self.message = message
    }
  }
}
