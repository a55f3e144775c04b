import { getOption, hasOption, type DescMethod } from '@bufbuild/protobuf'
import { PosternError } from '../base/errors.ts'
import { dataTypeOfNumber, type CallData, type DataType } from '../contract/data-type.ts'
import { data as option } from '../gen/postern/v1/data_pb.js'

/** Reads what a method moves from its option `postern.v1.data`. @throws CONFIG_INVALID where it declares nothing that is known */
export function methodData(method: DescMethod): CallData {
  const name = `${method.parent.typeName}/${method.name}`
  const fault = (what: string): PosternError => {
    const file = `${method.parent.file.name}.proto`
    return new PosternError('CONFIG_INVALID', `${file}: ${name} ${what}`)
  }
  if (!hasOption(method, option))
    throw fault('declares no data type: it needs the option (postern.v1.data)')
  const { carries, request, response, about, aboutField, messageBytesMax } = getOption(
    method,
    option,
  )
  const known = (number: number): DataType => {
    const type = dataTypeOfNumber(number)
    if (type === undefined)
      throw fault(`declares a data type, ${String(number)}, that is not known`)
    return type
  }
  const own = known(carries)
  if (aboutField !== '' && method.input.fields.every((field) => field.name !== aboutField))
    throw fault(`has no field ${aboutField} that could say what it is about`)
  return {
    carries: own,
    request: known(request || carries),
    response: known(response || carries),
    about: about.map(known),
    ...(aboutField === '' ? {} : { aboutField }),
    ...(messageBytesMax === 0 ? {} : { messageBytesMax }),
  }
}
