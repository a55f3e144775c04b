import {
  create,
  createFileRegistry,
  setExtension,
  type DescService,
  type MessageInitShape,
} from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  MethodOptionsSchema,
  file_google_protobuf_descriptor,
} from '@bufbuild/protobuf/wkt'
import {
  data,
  file_postern_v1_data,
  type MethodDataSchema,
} from '../../src/gen/postern/v1/data_pb.js'

/** A method of a test's service: its name, and what its option says; undefined: it has none. */
export interface TestMethod {
  readonly name: string
  readonly data: MessageInitShape<typeof MethodDataSchema> | undefined
}

/**
 * Makes the description of `test.v1.Data`, with unary methods that take and give the same message: `text`, `raw`, `type` (a data
 * type), `parts` of the same kind, and `notes` by name.
 */
export function dataService(methods: readonly TestMethod[]): DescService {
  const scalar = (name: string, number: number, type: Type) => ({
    ...{ name, number, type },
    label: Label.OPTIONAL,
  })
  const message = '.test.v1.Item'
  const file = create(FileDescriptorProtoSchema, {
    name: 'test/v1/data.proto',
    package: 'test.v1',
    syntax: 'proto3',
    dependency: ['postern/v1/data.proto'],
    messageType: [
      {
        name: 'Item',
        field: [
          scalar('text', 1, Type.STRING),
          scalar('raw', 2, Type.BYTES),
          { ...scalar('type', 3, Type.ENUM), typeName: '.postern.v1.DataType' },
          { ...scalar('parts', 4, Type.MESSAGE), typeName: message, label: Label.REPEATED },
          {
            ...scalar('notes', 5, Type.MESSAGE),
            typeName: `${message}.NotesEntry`,
            label: Label.REPEATED,
          },
        ],
        nestedType: [
          {
            name: 'NotesEntry',
            field: [scalar('key', 1, Type.STRING), scalar('value', 2, Type.STRING)],
            options: { mapEntry: true },
          },
        ],
      },
    ],
    service: [
      {
        name: 'Data',
        method: methods.map(({ name, data: said }) => {
          const options = create(MethodOptionsSchema)
          if (said !== undefined) setExtension(options, data, said as never)
          return { name, inputType: message, outputType: message, options }
        }),
      },
    ],
  })
  const registry = createFileRegistry(file, (path) =>
    path === 'postern/v1/data.proto'
      ? file_postern_v1_data.proto
      : file_google_protobuf_descriptor.proto,
  )
  return registry.getService('test.v1.Data') as DescService
}
