import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
} from 'class-validator';
import { flag, integer, jsonObject, list, Nested, Check, oneOf, text } from './constraints';

/** DTO classes with stock decorators and our own, nested and inherited. */
export class Leaf {
  @IsString()
  @Length(1, 3)
  name!: string;

  @IsOptional()
  @Check(integer(0, 9))
  size?: number | null;
}

export class Branch extends Leaf {
  @IsInt()
  @Min(-2)
  @Max(2)
  stock!: number;

  @IsIn(['a', 'b'])
  word!: string;

  @IsBoolean()
  yes!: boolean;

  @IsOptional()
  @IsUUID()
  id?: string;

  @Matches(/^x+$/)
  pattern!: string;

  @IsOptional()
  @IsArray()
  @ArrayMaxSize(2)
  @IsString({ each: true })
  @MaxLength(2, { each: true })
  tags?: string[];

  @Check(oneOf(['c', 'd']))
  ours!: string;

  @IsOptional()
  @Check(list(1, 2))
  @Check(text(2, 1), { each: true })
  lines?: string[];

  @IsOptional()
  @Check(flag)
  flag?: boolean;

  @IsOptional()
  @Nested(() => Leaf)
  leaf?: Leaf;

  @IsArray()
  @ArrayMinSize(1)
  @Nested(() => Leaf, { each: true })
  leaves!: Leaf[];

  @IsOptional()
  @Check(jsonObject(40, 2))
  json?: object;
}
