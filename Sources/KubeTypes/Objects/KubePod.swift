/// A `Pod`: on which node it runs (contract flanneld §1.2, POD_NAME).
public struct KubePod: KubeObject {
  /// `pods` of `core/v1`
  public static let resource = KubeResource(root: "/api/v1", plural: "pods", kind: "Pod", isNamespaced: true)

  private enum Slot {
    static let metadata: UInt8 = 8
    static let spec: UInt8 = 9
    static let nodeName: UInt8 = 10
  }

  /// k8s.io/api `core/v1/generated.proto`
  public static let schema = MessageSchema([
    FieldSchema("metadata", 1, Slot.metadata, .message(KubeMetadata.schema)),
    FieldSchema("spec", 2, Slot.spec, .message(MessageSchema([FieldSchema("nodeName", 10, Slot.nodeName)]))),
  ])

  /// What was kept.
  public let record: ObjectRecord
  /// The pod with this record.
  public init(_ record: ObjectRecord) { self.record = record }

  /// `spec.nodeName`; empty while the pod is not placed.
  public var nodeName: String { record.text(Slot.nodeName) ?? "" }
}
